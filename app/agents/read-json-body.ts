import type { IncomingMessage } from 'node:http';

const MAX_BODY_BYTES = 16 * 1024;

/** Undefined when it is larger than MAX_BODY_BYTES; null when it is not JSON. */
export async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of request) {
    if (!(chunk instanceof Uint8Array)) return null;
    sizeBytes += chunk.byteLength;
    if (sizeBytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return null;
  }
}
