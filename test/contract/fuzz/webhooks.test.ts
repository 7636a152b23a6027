/** Deliveries of every kind, judged by GitHub's documentation as job-events.ts writes it down. */
import { createHmac, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { openFrontDoor } from '../../../app/front-door.ts';
import { factsOfEvent } from '../../../app/github/job-facts.ts';
import { parseDelivery, QueuedEvent } from '../../../app/intake/delivery.ts';
import { createWebhookHandler, WEBHOOK_PATH } from '../../../app/intake/webhooks.ts';
import { judge, judgeEach } from './cases.ts';
import { isInstallationEvent, isJobEvent, payloads } from './job-events.ts';

const PAYLOADS = 20_000;
const REQUESTS = 2_000;
const ID = '72d3162e-cc78-11e3-81ab-4c9367dc0958';
const SECRET = 'the secret of both';

const names = fc.constantFrom('workflow_job', 'workflow_job', 'installation', 'ping', 'push');

function isWanted(name: string, payload: unknown): boolean | undefined {
  if (name === 'workflow_job') return isJobEvent(payload);
  return name === 'installation' ? isInstallationEvent(payload) : undefined;
}

it('an event is taken as it is, refused, or nobody asked for it', () => {
  judge(fc.record({ name: names, payload: payloads }), PAYLOADS, ({ name, payload }) => {
    const parsed = parseDelivery({ id: ID, name, payload }, 1);
    const wanted = isWanted(name, payload);
    const expected = wanted === true ? 'delivery' : 'malformed';
    expect(parsed.kind).toBe(wanted === undefined ? 'ignored' : expected);
    if (parsed.kind === 'delivery') expectSame(payload, parsed.delivery.event);
  });
});

/** What comes out of the queue says of the job what GitHub said. */
function expectSame(payload: unknown, stored: unknown): void {
  const event = QueuedEvent.parse(JSON.parse(JSON.stringify(stored)));
  if (event.name !== 'workflow_job') return;
  const facts = factsOfEvent(event.payload);
  expect(payload).toMatchObject({ workflow_job: { labels: event.payload.workflow_job.labels } });
  if (facts === undefined) return;
  const { id, labels, origin } = facts;
  expect(payload).toMatchObject({
    workflow_job: { id: Number(id), run_id: origin.runId, labels },
    repository: { name: origin.repo, owner: { login: origin.owner } },
    installation: { id: origin.installationId },
  });
}

const sign = (body: string, secret = SECRET) =>
  `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;

const requests = fc.record({
  name: names,
  body: fc.oneof(
    { weight: 8, arbitrary: payloads.map((payload) => JSON.stringify(payload)) },
    fc.string({ maxLength: 40 }),
    fc.json(),
  ),
  id: fc.oneof(
    { weight: 4, arbitrary: fc.uuid() },
    fc.constantFrom('a:b', '1234', '', 'x'.repeat(101), '../x', '0'),
  ),
  signature: fc.oneof(
    { weight: 4, arbitrary: fc.constant((body: string) => sign(body)) },
    fc.constantFrom(
      (body: string) => sign(`${body} `),
      (body: string) => sign(body, 'another'),
      (body: string) => sign(body).toUpperCase(),
      (body: string) => sign(body).slice(0, -1),
      (body: string) => sign(body).slice('sha256='.length),
      () => 'sha256=',
    ),
  ),
});

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

it('no request crashes the front door, and none is queued that GitHub did not sign', async () => {
  const queued: string[] = [];
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const github = { apiUrl: 'http://127.0.0.1:9', appId: 1, privateKey, webhookSecret: SECRET };
  const queue = {
    add: async ({ id }: { readonly id: string }) => {
      queued.push(id);
    },
  };
  const logger = pino({ level: 'silent' });
  const webhooks = await createWebhookHandler({ github, queue, logger });
  const listen = { host: '127.0.0.1', port: 0 };
  const door = await openFrontDoor({ listen, webhooks, readiness: { check: async () => [] } });
  onTestFinished(() => door.close());
  const url = `http://127.0.0.1:${door.port}${WEBHOOK_PATH}`;
  await judgeEach(requests, REQUESTS, async ({ name, body, id, signature }) => {
    queued.length = 0;
    const headers = {
      'content-type': 'application/json',
      ...{ 'x-github-event': name, 'x-github-delivery': id },
      'x-hub-signature-256': signature(body),
    };
    const { status } = await fetch(url, { method: 'POST', body, headers });
    const signed = signature(body) === sign(body);
    const payload = parsed(body);
    const idIsGood = /^[\w-]{1,100}$/.test(id) && /[A-Za-z-]/.test(id);
    const isEvent = typeof payload === 'object' && payload !== null && !Array.isArray(payload);
    const good = signed && isEvent && idIsGood;
    expect(status).toBeLessThan(500);
    expect(queued).toEqual(good && isWanted(name, payload) === true ? [id] : []);
    if (good) expect(status === 200).toBe(isWanted(name, payload) !== false);
    else expect(status).toBeGreaterThanOrEqual(400);
  });
});
