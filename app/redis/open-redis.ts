import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { connectRedis, type RedisAddress, type RedisConnections } from './connections.ts';
import { startEmbeddedRedis } from './embedded-redis.ts';

export interface OpenRedis {
  readonly address: RedisAddress;
  readonly connections: RedisConnections;
  /** What every key of this fleet starts with, so that fleets can share one Redis. */
  readonly keyPrefix: string;
  close(): Promise<void>;
}

/** The Redis that the configuration names, else a private one. Throws RedisStartError. */
export async function openRedis(
  config: Pick<Config, 'dataDir' | 'fleet' | 'redisUrl'>,
  logger: Logger,
): Promise<OpenRedis> {
  const keyPrefix = `architect:${config.fleet}`;
  if (config.redisUrl !== undefined) {
    const address: RedisAddress = { kind: 'url', url: config.redisUrl };
    const connections = connectRedis(address, logger);
    return { address, connections, keyPrefix, close: () => connections.close() };
  }
  const server = await startEmbeddedRedis({ ...config, logger });
  const address: RedisAddress = { kind: 'socket', path: server.socketPath };
  const connections = connectRedis(address, logger);
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
