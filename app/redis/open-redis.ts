import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { connectRedis, type RedisAddress, type RedisConnections } from './connections.ts';
import { startEmbeddedRedis } from './embedded-redis.ts';

const FIRST_CONNECT_TIMEOUT_MS = 5_000;

export interface OpenRedis {
  readonly address: RedisAddress;
  readonly connections: RedisConnections;
  /** What every key of this fleet starts with, so that fleets can share one Redis. */
  readonly keyPrefix: string;
  close(): Promise<void>;
}

/**
 * The Redis that the configuration names, else a private one. Throws RedisStartError. A configured
 * Redis that is away is waited for FIRST_CONNECT_TIMEOUT_MS; later its connections come up alone.
 */
export async function openRedis(
  config: Pick<Config, 'dataDir' | 'fleet' | 'redisUrl'>,
  logger: Logger,
): Promise<OpenRedis> {
  const keyPrefix = `architect:${config.fleet}`;
  if (config.redisUrl !== undefined) {
    const address: RedisAddress = { kind: 'url', url: config.redisUrl };
    const connections = await connect(address, logger);
    return { address, connections, keyPrefix, close: () => connections.close() };
  }
  const server = await startEmbeddedRedis({ ...config, logger });
  const address: RedisAddress = { kind: 'socket', path: server.socketPath };
  const connections = await connect(address, logger);
  return {
    address,
    connections,
    keyPrefix,
    close: async () => {
      await connections.close();
      await server.stop();
    },
  };
}

async function connect(address: RedisAddress, logger: Logger): Promise<RedisConnections> {
  const connections = connectRedis(address, logger);
  if (!(await connections.whenReady(FIRST_CONNECT_TIMEOUT_MS))) {
    logger.warn('Redis does not answer yet; the start goes on without it');
  }
  return connections;
}
