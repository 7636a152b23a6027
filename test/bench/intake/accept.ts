/** The front door alone: verify, parse, queue in Redis, answer. Nobody takes out of the queue. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { pino } from 'pino';
import { openFrontDoor } from '../../../app/front-door.ts';
import { openIntakeQueue } from '../../../app/intake/queue.ts';
import { createWebhookHandler, WEBHOOK_PATH } from '../../../app/intake/webhooks.ts';
import { createLogger } from '../../../app/log.ts';
import { openRedis } from '../../../app/redis/open-redis.ts';
import { ShutdownStack } from '../../../app/shutdown-stack.ts';
import { type Summary, summarize } from '../statistics.ts';
import { describeApp, parseRedisCpu } from '../throughput/control-plane.ts';
import { type OwnedTime, startCpuProfile } from '../throughput/cpu-profile.ts';
import type { LoadDone, LoadOptions } from './load-messages.ts';

const FLEET = 'bench';
/** On a disk, where Redis keeps its append-only file. */
const DISK = '/var/tmp';
const WARM_UP = 10_000;

export type Acceptance = Pick<LoadOptions, 'webhooks' | 'connections' | 'perSecond'>;

export interface Accepted {
  readonly perSecond: number;
  readonly latencyMs: Summary;
  readonly cores: { readonly door: number; readonly redis: number; readonly load: number };
  readonly time: readonly OwnedTime[];
}

/** Throws when a webhook is not answered with 200, or not in Redis at the end. */
export async function measureAcceptance(given: Acceptance, signal: AbortSignal): Promise<Accepted> {
  const parts = new ShutdownStack(pino({ level: 'silent' }));
  try {
    const door = await openDoor(parts);
    await sendLoad({ ...given, webhooks: WARM_UP, ...door.target }, signal);
    const profile = await startCpuProfile();
    const cpuBefore = { door: process.threadCpuUsage(), redisUs: await door.redisCpuUs() };
    const { latenciesMs, seconds, cpuUs } = await sendLoad({ ...given, ...door.target }, signal);
    const { user, system } = process.threadCpuUsage(cpuBefore.door);
    const cores = {
      door: (user + system) / 1e6 / seconds,
      redis: ((await door.redisCpuUs()) - cpuBefore.redisUs) / 1e6 / seconds,
      load: cpuUs / 1e6 / seconds,
    };
    const time = await profile.stop();
    const queued = await door.depth();
    if (queued !== WARM_UP + given.webhooks) throw new Error(`${queued} webhooks are queued`);
    const perSecond = given.webhooks / seconds;
    return { perSecond, latencyMs: summarize([...latenciesMs]), cores, time };
  } finally {
    await parts.close();
  }
}

async function openDoor(parts: ShutdownStack) {
  const dataDir = await mkdtemp(join(DISK, 'architect-bench-'));
  parts.add('folder', { close: () => rm(dataDir, { recursive: true, force: true }) });
  const github = describeApp();
  const logger = createLogger(
    { logLevel: 'info', fleet: FLEET, github },
    pino.destination({ dest: join(dataDir, 'log'), sync: true }),
  );
  const config = { dataDir, fleet: FLEET, redisUrl: undefined };
  const redis = parts.add('redis', await openRedis(config, logger));
  const queue = parts.add('queue', openIntakeQueue(redis, logger));
  const webhooks = await createWebhookHandler({ github, queue, logger });
  const door = await openFrontDoor({
    ...{ listen: { host: '127.0.0.1', port: 0 }, webhooks },
    readiness: { check: async () => [] },
  });
  parts.add('front door', door);
  return {
    target: { port: door.port, path: WEBHOOK_PATH, secret: github.webhookSecret },
    depth: () => queue.depth(),
    redisCpuUs: async () => parseRedisCpu(await redis.connections.commands.info('cpu')),
  };
}

async function sendLoad(options: LoadOptions, signal: AbortSignal): Promise<LoadDone> {
  const { promise, resolve, reject } = Promise.withResolvers<LoadDone>();
  const stop = () => reject(signal.reason);
  const worker = new Worker(new URL('load-thread.ts', import.meta.url), { workerData: options });
  worker.on('message', (done: LoadDone) => resolve(done));
  worker.on('error', reject);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', stop);
    await worker.terminate();
  }
}
