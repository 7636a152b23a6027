import { expect, test } from 'vitest';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import { createLogger } from './log.ts';

const PRIVATE_KEY = [
  '-----BEGIN RSA PRIVATE KEY-----',
  'MIIEowIBAAKCAQEAexamplebody',
  '-----END RSA PRIVATE KEY-----',
].join('\n');
const SECRET = 'webhook-secret-value';

class TestError extends ArchitectError {
  readonly code = 'TEST';
  readonly retry = 'never';
}

function capture(log: (logger: ReturnType<typeof createLogger>) => void): string {
  const lines: string[] = [];
  const app = { apiUrl: 'http://x', appId: 1, privateKey: PRIVATE_KEY, webhookSecret: SECRET };
  const github = { ...app, furtherApps: [{ ...app, webhookSecret: 'secret-of-another' }] };
  const logger = createLogger(
    { logLevel: 'debug', fleet: 'main', github, enterprise: ENTERPRISE },
    { write: (line) => lines.push(line) },
  );
  log(logger);
  return lines.join('');
}

const ENTERPRISE = {
  ...{ slug: 'inc', organizations: ['acme'], runnerGroupId: 1, token: 'classic-token-value' },
};

const leaks: readonly (readonly [string, Parameters<typeof capture>[0], RegExp])[] = [
  ['the webhook secret in a message', (log) => log.info(`got ${SECRET}`), /webhook-secret-value/],
  ["another App's secret", (log) => log.info('got secret-of-another'), /secret-of-another/],
  ["an enterprise's token", (log) => log.info('sent classic-token-value'), /classic-token-value/],
  ['the private key in a field', (log) => log.info({ text: PRIVATE_KEY }), /examplebody/],
  ['another private key', (log) => log.info(PRIVATE_KEY.replace('MIIE', 'MIIF')), /examplebody/],
  ['a token in an error', (log) => log.info(new Error(`ghs_${'a'.repeat(36)}`)), /aaaaaaaaaa/],
  ['a JIT config field', (log) => log.info({ runner: { jitConfig: 'abc-jit' } }), /abc-jit/],
  [
    'the request that an HTTP error carries',
    (log) => log.warn({ err: Object.assign(new Error('x'), { request: { body: 'abc-jit' } }) }),
    /abc-jit/,
  ],
];

test.each(leaks)('the log never holds %s', (_name, log, leak) => {
  const text = capture(log);
  expect(text.length).toBeGreaterThan(0);
  expect(text).not.toMatch(leak);
});

test('an error keeps its code, its context and the message of its cause', () => {
  const error = new TestError('broke', { cause: new Error('why'), context: { jobId: '7' } });
  const line: unknown = JSON.parse(capture((log) => log.error({ err: error }, 'failed')));
  expect(line).toMatchObject({
    msg: 'failed',
    fleet: 'main',
    err: { code: 'TEST', context: { jobId: '7' }, causes: ['Error: why'] },
  });
});
