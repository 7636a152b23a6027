/** A redis-server of this test's own, on a unix socket in a folder that goes with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { Redis } from 'ioredis';

export interface TestRedis {
  readonly folder: string;
  readonly socket: string;
  connect(): Redis;
  /** Killed, and started again at once with nothing in it: its clients connect anew by themselves. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

export async function startTestRedis(): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'architect-redis-'));
  const socket = join(folder, 'redis.sock');
  let server = startServer(folder, socket);
  const clients: Redis[] = [];
  return {
    folder,
    socket,
    connect: () => {
      const client = new Redis(socket, { maxRetriesPerRequest: 50, retryStrategy: () => 50 });
      client.on('error', () => undefined);
      clients.push(client);
      return client;
    },
    crash: async () => {
      server.kill('SIGKILL');
      await server;
      server = startServer(folder, socket);
    },
    stop: async () => {
      for (const client of clients) client.disconnect();
      server.kill('SIGKILL');
      await server;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function startServer(folder: string, socket: string) {
  const keepNothing = ['--save', '', '--appendonly', 'no', '--dir', folder];
  return execa('redis-server', ['--port', '0', '--unixsocket', socket, ...keepNothing], {
    stdout: 'ignore',
    stderr: 'ignore',
    reject: false,
    cleanup: true,
  });
}
