/**
 * The queue between the webhook handler and the worker. One job per delivery id: a redelivery keeps
 * its id and is dropped while the first is remembered. Everything in it has a bound.
 */
import { type JobsOptions, Queue } from 'bullmq';
import type { Logger } from 'pino';
import { RedisAwayError } from '../redis/errors.ts';
import type { OpenRedis } from '../redis/open-redis.ts';
import { gatherBatches } from './batches.ts';
import type { Delivery, StoredEvent } from './delivery.ts';

export const INTAKE_QUEUE = 'intake';
/** GitHub records a delivery as failed after 10 s without an answer. */
const ENQUEUE_TIMEOUT_MS = 5_000;
const MAX_WAITING = 100_000;
/** In one transaction of Redis, which does nothing else meanwhile. */
const MAX_BATCH = 64;
/** More than there are requests at once: what Redis hangs over is not heaped up here. */
const MAX_GATHERED = 1_024;
const DEPTH_AGE_MS = 1_000;
const REMEMBERED = { age: 24 * 3600, count: 20_000 };
const ATTEMPTS = 8;
const BACKOFF_MS = 500;

const JOB_OPTIONS: JobsOptions = {
  attempts: ATTEMPTS,
  // 0.5 s, doubling: a minute in all, longer than a private Redis or its records need to be back.
  backoff: { type: 'exponential', delay: BACKOFF_MS },
  removeOnComplete: REMEMBERED,
  // One that failed must be taken when it is sent again, and a redelivery keeps its id.
  removeOnFail: true,
  stackTraceLimit: 1,
};

export interface IntakeQueue {
  /** Rejects with RedisAwayError in ENQUEUE_TIMEOUT_MS at most; the delivery may be sent again. */
  add(delivery: Delivery): Promise<void>;
  /** Deliveries that wait or are being worked on. Rejects while Redis is away. */
  depth(): Promise<number>;
  close(): Promise<void>;
}

/** `redis` stays the caller's to close. */
export function openIntakeQueue(
  redis: Pick<OpenRedis, 'connections' | 'keyPrefix'>,
  logger: Logger,
): IntakeQueue {
  const { commands } = redis.connections;
  const queue = new Queue<StoredEvent>(INTAKE_QUEUE, {
    connection: commands,
    prefix: redis.keyPrefix,
    defaultJobOptions: JOB_OPTIONS,
    skipVersionCheck: true,
  });
  // The connection itself logs when Redis goes and comes back.
  queue.on('error', (err) => logger.debug({ err }, 'intake queue'));
  const depth = () => limited(queue.getJobCountByTypes('waiting', 'active', 'delayed'));
  const enqueue = gatherBatches<Delivery>({
    maxItems: MAX_BATCH,
    maxWaiting: MAX_GATHERED,
    send: (batch) =>
      queue.addBulk(
        batch.map(({ id, event }) => ({ name: event.name, data: event, opts: { jobId: id } })),
      ),
  });
  const hasRoom = rememberFor(DEPTH_AGE_MS, async () => (await depth()) < MAX_WAITING);
  return {
    depth,
    add: async (delivery) => {
      if (commands.status !== 'ready') throw new RedisAwayError('Redis is away.');
      if (!(await hasRoom())) throw new RedisAwayError('Too many deliveries wait.');
      await limited(enqueue(delivery));
    },
    close: () => queue.close(),
  };
}

/** Asks again when the answer is older than `ageMs`; callers in between share one answer. */
function rememberFor<T>(ageMs: number, ask: () => Promise<T>): () => Promise<T> {
  let askedAtMs = Number.NEGATIVE_INFINITY;
  let answer: Promise<T> | undefined;
  return () => {
    const nowMs = performance.now();
    if (answer !== undefined && nowMs - askedAtMs < ageMs) return answer;
    askedAtMs = nowMs;
    const fresh = ask();
    answer = fresh;
    fresh.catch(() => {
      if (answer === fresh) answer = undefined;
    });
    return fresh;
  };
}

async function limited<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = () => reject(new RedisAwayError(`No answer in ${ENQUEUE_TIMEOUT_MS} ms.`));
  const timer = setTimeout(late, ENQUEUE_TIMEOUT_MS);
  try {
    return await Promise.race([work, promise]);
  } catch (cause) {
    if (cause instanceof RedisAwayError) throw cause;
    throw new RedisAwayError('Redis did not take the command.', { cause });
  } finally {
    clearTimeout(timer);
  }
}
