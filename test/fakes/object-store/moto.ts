/**
 * moto's server: an S3 endpoint written by others (https://docs.getmoto.org), one process per use,
 * on a free port of the loopback interface, its objects in memory. It checks no signatures and is slow.
 */
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';

const PROGRAM = join(import.meta.dirname, '../../../.architect/moto/bin/moto_server');
const START_LIMIT_MS = 60_000;
const LOOK_AGAIN_MS = 50;

export interface Moto {
  readonly url: string;
  makeBucket(name: string): Promise<void>;
  stop(): Promise<void>;
}

/** Throws when it is not installed: `npm test` does that, by runner-image/with-moto.sh. */
export async function startMoto(): Promise<Moto> {
  const port = await findFreePort();
  const server = execa(PROGRAM, ['-H', '127.0.0.1', '-p', String(port)], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
    reject: false,
    cleanup: true,
  });
  const url = `http://127.0.0.1:${port}`;
  const ended = server.then(({ shortMessage }) => {
    throw new Error(`moto did not start; npm test installs it. ${shortMessage}`);
  });
  const stop = async () => {
    server.kill('SIGKILL');
    await server;
  };
  try {
    await Promise.race([ended, untilItAnswers(url)]);
  } catch (error) {
    await stop();
    throw error;
  }
  ended.catch(() => undefined);
  const makeBucket = async (name: string) => {
    const { ok } = await fetch(`${url}/${name}`, { method: 'PUT' });
    if (!ok) throw new Error(`moto made no bucket ${name}`);
  };
  return { url, makeBucket, stop };
}

async function untilItAnswers(url: string): Promise<void> {
  const deadlineMs = performance.now() + START_LIMIT_MS;
  while (performance.now() < deadlineMs) {
    const answer = await fetch(`${url}/moto-api/`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok) return;
    await sleep(LOOK_AGAIN_MS);
  }
  throw new Error('moto does not answer');
}

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no free port');
  return address.port;
}
