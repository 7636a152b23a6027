/**
 * Connections to Redis that fail fast and heal by themselves.
 *
 * Commands are never queued while Redis is away: they reject at once, and each has a time limit.
 * A blocking connection is for BullMQ workers only: its commands wait, since waiting is their work.
 */
import { Redis, type RedisOptions } from 'ioredis';
import type { Logger } from 'pino';

const CONNECT_TIMEOUT_MS = 5_000;
const COMMAND_TIMEOUT_MS = 4_000;
const PING_TIMEOUT_MS = 2_000;
const MAX_RECONNECT_DELAY_MS = 1_000;
const RECONNECT_STEP_MS = 50;

export type RedisAddress =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'url'; readonly url: string };

type ClientOptions = Omit<RedisOptions, 'replyMapping'>;

export interface RedisConnections {
  /** Shared; rejects at once while Redis is away, and after COMMAND_TIMEOUT_MS without an answer. */
  readonly commands: Redis;
  /** A new connection for one BullMQ worker; closed with the others. */
  openBlocking(): Redis;
  /** False when Redis is away, still loading, or cannot write (its disk is full). */
  isReady(): Promise<boolean>;
  /** For a start: true as soon as `commands` take commands, false when `timeoutMs` have passed. */
  whenReady(timeoutMs: number): Promise<boolean>;
  close(): Promise<void>;
}

/** Returns at once; the connections come up in the background and come back after each loss. */
export function connectRedis(address: RedisAddress, logger: Logger): RedisConnections {
  const open: Redis[] = [];
  const connect = (name: string, options: ClientOptions) => {
    const redis = create(address, { ...options, connectionName: `architect-${name}` });
    logChanges(redis, logger.child({ connection: name }));
    open.push(redis);
    return redis;
  };
  const commands = connect('commands', {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_TIMEOUT_MS,
  });
  return {
    commands,
    openBlocking: () => connect('blocking', { maxRetriesPerRequest: null }),
    isReady: () => isReady(commands),
    whenReady: (timeoutMs) => whenReady(commands, timeoutMs),
    close: async () => {
      for (const redis of open.splice(0)) redis.disconnect();
    },
  };
}

function create(address: RedisAddress, options: ClientOptions): Redis {
  const all: ClientOptions = {
    ...options,
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: (attempt) => Math.min(attempt * RECONNECT_STEP_MS, MAX_RECONNECT_DELAY_MS),
  };
  return address.kind === 'socket' ? new Redis(address.path, all) : new Redis(address.url, all);
}

/** One line when Redis goes and one when it is back, however often the connection tries. */
function logChanges(redis: Redis, logger: Logger): void {
  let away = false;
  redis.on('error', (err: unknown) => {
    if (!away) logger.warn({ err }, 'Redis is away; reconnecting');
    away = true;
  });
  redis.on('ready', () => {
    if (away) logger.info('Redis is back');
    away = false;
  });
}

async function isReady(commands: Redis): Promise<boolean> {
  if (commands.status !== 'ready') return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), PING_TIMEOUT_MS);
  commands.ping().then(
    () => resolve(true),
    () => resolve(false),
  );
  return promise.finally(() => clearTimeout(timer));
}

async function whenReady(commands: Redis, timeoutMs: number): Promise<boolean> {
  if (commands.status === 'ready') return true;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const ready = () => resolve(true);
  const timer = setTimeout(() => resolve(false), timeoutMs);
  commands.once('ready', ready);
  return promise.finally(() => {
    clearTimeout(timer);
    commands.off('ready', ready);
  });
}
