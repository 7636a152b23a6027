/** Reading a request's body with a bound on its size, its time, and how many are read at once. */
import type { IncomingMessage } from 'node:http';

/** A `workflow_job` event has about 10 kB; one with a thousand steps stays far below this. */
export const MAX_BODY_BYTES = 2 * 1024 * 1024;
const BODY_TIMEOUT_MS = 8_000;

export type ReadBody =
  | { readonly kind: 'body'; readonly text: string }
  | { readonly kind: 'too-large' | 'too-slow' | 'broken' };

/** Stops reading as soon as the answer is known; the caller closes the connection then. */
export async function readBody(request: IncomingMessage): Promise<ReadBody> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return { kind: 'too-large' };
  const { promise, resolve } = Promise.withResolvers<ReadBody>();
  const chunks: Buffer[] = [];
  let length = 0;
  const timer = setTimeout(() => resolve({ kind: 'too-slow' }), BODY_TIMEOUT_MS);
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_BODY_BYTES) chunks.push(chunk);
    else resolve({ kind: 'too-large' });
  });
  request.on('end', () => resolve({ kind: 'body', text: Buffer.concat(chunks).toString('utf8') }));
  request.on('error', () => resolve({ kind: 'broken' }));
  request.on('close', () => resolve({ kind: 'broken' }));
  const body = await promise;
  clearTimeout(timer);
  if (body.kind !== 'body') request.pause().removeAllListeners('data');
  return body;
}
