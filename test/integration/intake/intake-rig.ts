import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { openIntakeQueue } from '../../../app/intake/queue.ts';
import { createWebhookHandler, WEBHOOK_PATH } from '../../../app/intake/webhooks.ts';
import { createLogger } from '../../../app/log.ts';
import type { JobFacts } from '../../../app/records/records.ts';
import { connectRedis, type RedisConnections } from '../../../app/redis/connections.ts';
import { type EmbeddedRedis, startEmbeddedRedis } from '../../../app/redis/embedded-redis.ts';

export const SECRET = 'a-secret-of-the-webhook';
export const WAIT = { timeout: 30_000, interval: 25 };
const KEY_PREFIX = 'architect:test';

export interface IntakeRig {
  readonly url: string;
  readonly dataDir: string;
  readonly connections: RedisConnections;
  readonly queue: ReturnType<typeof openIntakeQueue>;
  readonly redis: { readonly connections: RedisConnections; readonly keyPrefix: string };
  readonly logger: ReturnType<typeof createLogger>;
  readonly log: () => string;
  /** How many requests reached what the App believes to be GitHub's API. */
  readonly apiCalls: () => number;
  readonly redisPid: () => number | undefined;
  stopRedis(): Promise<void>;
  startRedis(): Promise<void>;
  send(delivery: Partial<Sent>): Promise<Response>;
  close(): Promise<void>;
}

export interface Sent {
  readonly body: string;
  readonly id: string;
  readonly event: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

export const privateKey = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
}).privateKey;

export function sign(body: string, secret = SECRET): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

export function jobEvent(overrides: Readonly<Record<string, unknown>> = {}): string {
  const job = {
    id: 4_242,
    run_id: 7,
    head_sha: 'a'.repeat(40),
    status: 'queued',
    conclusion: null,
    created_at: '2026-01-01T00:00:00Z',
    started_at: '2026-01-01T00:00:00Z',
    completed_at: null,
    name: 'build',
    workflow_name: 'CI',
    labels: ['architect'],
    runner_name: null,
    steps: [],
    ...overrides,
  };
  return JSON.stringify({
    action: job.status,
    workflow_job: job,
    repository: { name: 'app', owner: { login: 'octo', type: 'Organization' } },
    organization: { login: 'octo' },
    installation: { id: 5, node_id: 'x' },
    sender: { login: 'someone' },
  });
}

/** A job intake that remembers what it was given. */
export function recordingIntake() {
  const applied: JobFacts[] = [];
  let nudges = 0;
  const nudge = () => {
    nudges += 1;
  };
  const applyJobFacts = async (facts: JobFacts) => {
    applied.push(facts);
    return true;
  };
  const closed: number[] = [];
  const closeInstallation = async (installationId: number) => {
    closed.push(installationId);
  };
  const intake = { nudge, applyJobFacts, closeInstallation };
  return { applied, closed, nudges: () => nudges, intake };
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}

/** Real Redis, the real handler on a real HTTP server, and a GitHub API that counts its calls. */
export async function startIntakeRig(): Promise<IntakeRig> {
  const dataDir = await mkdtemp(join(tmpdir(), 'ar-intake-'));
  const lines: string[] = [];
  let apiCalls = 0;
  const api = createServer((_request, response) => {
    apiCalls += 1;
    response.writeHead(500).end();
  });
  const apiUrl = await listen(api);
  const github = { apiUrl, appId: 1, privateKey, webhookSecret: SECRET };
  const logger = createLogger(
    { logLevel: 'debug', fleet: 'test', github },
    { write: (line) => lines.push(line) },
  );
  const start = () => startEmbeddedRedis({ dataDir, fleet: 'test', logger });
  let server: EmbeddedRedis = await start();
  const connections = connectRedis({ kind: 'socket', path: server.socketPath }, logger);
  await vi.waitUntil(() => connections.isReady(), WAIT);
  const redis = { connections, keyPrefix: KEY_PREFIX };
  const queue = openIntakeQueue(redis, logger);
  const handler = await createWebhookHandler({ github, queue, logger });
  const web = createServer((request, response) => {
    if (!handler(request, response)) response.writeHead(404).end();
  });
  const url = await listen(web);
  return {
    url: `${url}${WEBHOOK_PATH}`,
    dataDir,
    connections,
    queue,
    redis,
    logger,
    log: () => lines.join(''),
    apiCalls: () => apiCalls,
    redisPid: () => server.pid(),
    stopRedis: () => server.stop(),
    startRedis: async () => {
      server = await start();
      await vi.waitUntil(() => connections.isReady(), WAIT);
    },
    send: (sent) => send(url, sent),
    close: async () => {
      await queue.close();
      await connections.close();
      await Promise.all([closeServer(web), closeServer(api), server.stop()]);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function send(url: string, sent: Partial<Sent>): Promise<Response> {
  const body = sent.body ?? jobEvent();
  const given: Readonly<Record<string, string | undefined>> = {
    'content-type': 'application/json',
    'x-github-event': sent.event ?? 'workflow_job',
    'x-github-delivery': sent.id ?? randomUUID(),
    'x-hub-signature-256': sign(body),
    ...sent.headers,
  };
  const headers = new Headers();
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) headers.set(name, value);
  }
  const method = sent.method ?? 'POST';
  const signal = AbortSignal.timeout(15_000);
  return fetch(`${url}${WEBHOOK_PATH}`, {
    method,
    headers,
    signal,
    ...(method === 'POST' ? { body } : {}),
  });
}
