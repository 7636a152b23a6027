import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { RedisAddress } from '../../../app/redis/connections.ts';
import { startEmbeddedRedis } from '../../../app/redis/embedded-redis.ts';

export interface TestRedis {
  readonly address: RedisAddress;
  readonly dataDir: string;
  readonly socketPath: string;
  readonly pid: () => number | undefined;
  stop(): Promise<void>;
}

/** A private redis-server in a folder of its own; `stop` ends it and deletes the folder. */
export async function startTestRedis(fleet = 'test'): Promise<TestRedis> {
  const dataDir = await mkdtemp(join(tmpdir(), 'ar-redis-'));
  const remove = () => rm(dataDir, { recursive: true, force: true });
  try {
    const server = await startEmbeddedRedis({ dataDir, fleet, logger: pino({ level: 'silent' }) });
    const stop = async () => {
      await server.stop();
      await remove();
    };
    const { socketPath, pid } = server;
    return { address: { kind: 'socket', path: socketPath }, dataDir, socketPath, pid, stop };
  } catch (error) {
    await remove();
    throw error;
  }
}
