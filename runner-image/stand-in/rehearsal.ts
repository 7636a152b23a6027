/**
 * A job against a server in this very process: afterwards every function of a job's way is loaded
 * and compiled. It leaves nothing behind, neither files nor connections.
 */
import { rm } from 'node:fs/promises';
import { createServer, globalAgent, type IncomingMessage, type ServerResponse } from 'node:http';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runOneJob } from './one-job.ts';
import type { JobDetails } from './wire.ts';

const WORK_FOLDER = '.rehearsal';
const POLL_MS = 50;
const JOB: JobDetails = {
  jobId: 1,
  runId: 1,
  runAttempt: 1,
  key: 'rehearsal',
  name: 'rehearsal',
  workflowName: 'rehearsal',
  repository: 'rehearsal/rehearsal',
  sha: '',
  ref: '',
  actor: '',
  env: { REHEARSAL: 'true' },
  steps: [
    {
      number: 2,
      name: 'Run echo',
      run: 'echo rehearsal',
      env: {},
      condition: 'success',
      continueOnError: false,
    },
  ],
};

export async function rehearse(shutdown: AbortSignal): Promise<void> {
  let polls = 0;
  const answer = async (path: string) => {
    if (path.endsWith('/sessions')) return { sessionId: 'rehearsal', lockRenewMs: 60_000 };
    if (path.endsWith('/acquire')) return JOB;
    if (path.endsWith('/renew')) return { lockedForMs: 60_000 };
    if (path.endsWith('/log')) return { receivedBytes: Number.MAX_SAFE_INTEGER };
    if (!path.includes('/message')) return {};
    polls += 1;
    if (polls > 1) await delay(POLL_MS);
    return { messageId: polls, type: polls === 1 ? 'job' : 'cancel', jobId: polls === 1 ? 1 : 0 };
  };
  const server = createServer((request, response) => void serve(request, response, answer));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const serverUrl = `http://127.0.0.1:${port}`;
    const who = { agentId: 1, agentName: 'rehearsal', token: 'none' };
    await runOneJob({ serverUrl, workFolder: WORK_FOLDER, ...who }, shutdown);
  } finally {
    globalAgent.destroy();
    server.close();
    server.closeAllConnections();
    await rm(join(homedir(), WORK_FOLDER), { recursive: true, force: true });
  }
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (path: string) => Promise<object>,
): Promise<void> {
  for await (const _ of request);
  const body = JSON.stringify(await answer((request.url ?? '').replace(/\?offset.*/, '')));
  response.writeHead(200, { 'content-type': 'application/json' }).end(body);
}
