import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { whyNotListening } from './listen-trouble.ts';

function troubleAt(host: string, port: number): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const server = createServer();
  server.once('error', resolve);
  server.listen(port, host, () => server.close(() => reject(new Error('it listens'))));
  return promise;
}

test('a port that is taken is told from an address that is not here', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void taken.close());
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  expect(whyNotListening(await troubleAt('127.0.0.1', port))).toMatch(/another process/);
  expect(whyNotListening(await troubleAt('192.0.2.1', 0))).toMatch(/no such address/);
});

test.each([
  [{ code: 'EMFILE' }, 'EMFILE'],
  [new Error('?'), 'it failed'],
])('%o is %s', (cause, why) => {
  expect(whyNotListening(cause)).toBe(why);
});
