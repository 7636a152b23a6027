/** The job-completed hook as the runner runs it, in a namespace where the guest API is as wanted. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, it, onTestFinished } from 'vitest';
import {
  GUEST_API_ADDRESS,
  GUEST_API_PORT,
} from '../../../host-agent/protocol/guest-api-address.ts';

const HOOK = join(
  import.meta.dirname,
  '../../../runner-image/guest/files/opt/architect/job-completed.sh',
);
const LIMIT_MS = 60_000;

/** Answers so at the guest API's address, says when it does, and ends with its standard input. */
const server = (answer: string) => `
import { createServer } from 'node:http';
process.stdin.resume().on('end', () => process.exit());
createServer((request, response) => { ${answer} })
  .listen(${GUEST_API_PORT}, '${GUEST_API_ADDRESS}', () => console.log('listening'));`;

const WITH_API = `
ip link set lo up
ip address add ${GUEST_API_ADDRESS}/32 dev lo
coproc "$NODE" --input-type=module --eval "$SERVER"
read -r line <&"\${COPROC[0]}"
bash --noprofile --norc -e -o pipefail "$HOOK"
exit $?`;
const WITHOUT = 'bash --noprofile --norc -e -o pipefail "$HOOK"';

async function runHook(script: string, answer = '', file?: string) {
  const folder = await mkdtemp(join(tmpdir(), 'job-completed-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const summary = file ?? join(folder, 'summary');
  if (file === undefined) await writeFile(summary, 'before\n');
  const given = { HOOK, NODE: process.execPath, SERVER: server(answer) };
  const { exitCode } = await execa('unshare', ['--net', 'bash', '-c', script], {
    env: { ...given, GITHUB_STEP_SUMMARY: summary },
    reject: false,
    timeout: LIMIT_MS,
  });
  return { exitCode, summary: file === undefined ? await readFile(summary, 'utf8') : '' };
}

it('adds what the guest API tells to the summary', async () => {
  const answer = `response.end(request.url === '/v1/summary' ? '### Architect\\n\\n| a |\\n' : '');`;
  const run = await runHook(WITH_API, answer);
  expect(run).toEqual({ exitCode: 0, summary: 'before\n### Architect\n\n| a |\n' });
});

it.each([
  ['that refuses', WITH_API, 'response.writeHead(403).end("no");'],
  ['that is busy', WITH_API, 'response.writeHead(503).end("later");'],
  ['that never answers', WITH_API, ''],
  ['that tells too much', WITH_API, 'response.end("x".repeat(100_000));'],
  ['that is not there', WITHOUT, ''],
])('neither fails nor writes with a guest API %s', async (_what, script, answer) => {
  expect(await runHook(script, answer)).toEqual({ exitCode: 0, summary: 'before\n' });
});

it.each(['', '/no/such/folder/summary', '/dev/full'])(
  'does not fail with the file %j',
  async (file) => {
    expect(await runHook(WITH_API, 'response.end("fine");', file)).toMatchObject({ exitCode: 0 });
  },
);
