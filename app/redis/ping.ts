import { createConnection } from 'node:net';

const PING_TIMEOUT_MS = 1_000;

/** True when a Redis that has loaded its data answers on the socket. Source: redis.io, RESP. */
export function answersPing(socketPath: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection({ path: socketPath, timeout: PING_TIMEOUT_MS });
  socket.once('connect', () => socket.write('PING\r\n'));
  socket.once('data', (data) => resolve(data.toString('latin1').startsWith('+PONG')));
  for (const event of ['error', 'timeout', 'close']) socket.once(event, () => resolve(false));
  return promise.finally(() => socket.destroy());
}
