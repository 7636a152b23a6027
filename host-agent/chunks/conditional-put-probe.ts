/**
 * Whether an object store honours conditions on puts. Some S3-compatible servers take the headers and
 * ignore them, so it is tried: what must fail has to fail, and what must succeed has to succeed.
 */
import { randomUUID } from 'node:crypto';
import {
  ConditionalPutUnsupportedError,
  ConditionFailedError,
  StoreRefusedError,
} from './chunk-errors.ts';
import type { ObjectBackend, PutCondition } from './object-backend.ts';

type Puts = Pick<ObjectBackend, 'put' | 'remove'>;

/** Leaves nothing behind. Throws ConditionalPutUnsupportedError, or what kept it from finding out. */
export async function probeConditionalPut(backend: Puts, signal: AbortSignal): Promise<void> {
  const key = `conditional-put-probe/${randomUUID()}`;
  const put = (body: string, condition: PutCondition) =>
    backend.put(key, Buffer.from(body), { signal, condition });
  const absent = { kind: 'absent' } as const;
  try {
    const first = await mustSucceed(() => put('first', absent), 'if absent');
    await mustFail(() => put('second', absent), 'if absent');
    const matches = { kind: 'matches', etag: first.etag } as const;
    await mustSucceed(() => put('third', matches), 'if it matches');
    await mustFail(() => put('fourth', matches), 'if it matches');
  } finally {
    await backend.remove([key], { signal });
  }
}

async function mustSucceed<T>(put: () => Promise<T>, what: string): Promise<T> {
  try {
    return await put();
  } catch (error) {
    if (error instanceof ConditionFailedError) throw unsupported(`fails a put ${what}`, error);
    if (error instanceof StoreRefusedError && error.context.status === 501) {
      throw unsupported(`does not know a put ${what}`, error);
    }
    throw error;
  }
}

async function mustFail(put: () => Promise<unknown>, what: string): Promise<void> {
  try {
    await put();
  } catch (error) {
    if (error instanceof ConditionFailedError) return;
    throw error;
  }
  throw unsupported(`ignores the condition of a put ${what}`);
}

function unsupported(how: string, cause?: unknown): ConditionalPutUnsupportedError {
  return new ConditionalPutUnsupportedError(
    `This object store ${how}. Two hosts could both claim one VM's newest state there, so it cannot be used: take a store with conditional writes (If-Match and If-None-Match on PUT), or a folder.`,
    { cause },
  );
}
