/**
 * Settles whether a manifest was published, when whoever published it does not know: its put may have
 * been lost, may have been done, or may still be on its way.
 *
 *   head at this epoch or beyond ──▶ published
 *   head before it ──put anew, if it still is that one──▶ fenced: no put from before can move it now
 *
 * The head moves by conditional put alone, on its etag; so writing the same head as another object
 * makes every put fail that was made for the old one.
 */
import { randomUUID } from 'node:crypto';
import type { VmId } from '../protocol/ids.ts';
import { ConditionFailedError, ManifestDamagedError } from './chunk-errors.ts';
import { encodeHead, fetchHead } from './head.ts';
import type { ObjectBackend } from './object-backend.ts';
import { headKey } from './store-keys.ts';

/** Each time somebody else was faster; who else there is, is done after one put. */
const ATTEMPTS = 5;

/**
 * For good: either the head is at this epoch or beyond, or it will not come there by a put that began
 * before this call. Throws StoreUnavailableError: nothing is settled then, and it can be tried again;
 * ManifestDamagedError where there is no head, which cannot be fenced.
 */
export async function fenceHead(
  backend: ObjectBackend,
  {
    vmId,
    epoch,
    signal,
  }: { readonly vmId: VmId; readonly epoch: number; readonly signal: AbortSignal },
): Promise<'published' | 'fenced'> {
  for (let attempt = 1; ; attempt += 1) {
    const head = await fetchHead(backend, vmId, { signal });
    if (head === undefined) {
      throw new ManifestDamagedError('A VM of which a manifest was published has no head.', {
        context: { vmId },
      });
    }
    if (head.epoch >= epoch) return 'published';
    const condition = { kind: 'matches', etag: head.etag } as const;
    try {
      const body = encodeHead(vmId, head.manifest, randomUUID());
      await backend.put(headKey(vmId), body, { signal, condition });
      return 'fenced';
    } catch (error) {
      if (attempt === ATTEMPTS || !(error instanceof ConditionFailedError)) throw error;
    }
  }
}
