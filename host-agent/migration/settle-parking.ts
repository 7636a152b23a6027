/** What the store says of a parking that was begun, for as long as it takes to be sure (park.ts). */
import { setTimeout as sleep } from 'node:timers/promises';
import { fenceHead } from '../chunks/fence-head.ts';
import { openBackend } from '../chunks/open-backend.ts';
import type { VmId } from '../protocol/ids.ts';
import type { StoreSpec } from '../protocol/store-spec.ts';

const ATTEMPT_LIMIT_MS = 20_000;
const PAUSE_MS = 1_000;
/** GitHub tolerates a frozen runner for about nine minutes (FACTS). */
export const PARK_DOUBT_MS = 10 * 60_000;

/** `fenced`: it was not published and never will be. `unknown`: the store did not say in time. */
export type Settled = 'published' | 'fenced' | 'unknown';

/** Rejects only with the signal's reason. */
export async function settleParking(parking: {
  readonly vmId: VmId;
  readonly epoch: number;
  /** Undefined as long as the control plane has not named one. */
  readonly store: () => StoreSpec | undefined;
  readonly signal: AbortSignal;
  readonly limitMs?: number;
}): Promise<Settled> {
  const { vmId, epoch, store, signal, limitMs = PARK_DOUBT_MS } = parking;
  const endMs = performance.now() + limitMs;
  while (performance.now() < endMs) {
    signal.throwIfAborted();
    const spec = store();
    const settled = spec === undefined ? undefined : await ask(spec, { vmId, epoch });
    if (settled !== undefined) return settled;
    await sleep(PAUSE_MS, undefined, { signal });
  }
  return 'unknown';
}

async function ask(
  spec: StoreSpec,
  { vmId, epoch }: { readonly vmId: VmId; readonly epoch: number },
): Promise<Settled | undefined> {
  const signal = AbortSignal.timeout(ATTEMPT_LIMIT_MS);
  try {
    const backend = await openBackend(spec);
    return await fenceHead(backend, { vmId, epoch, signal }).finally(() => backend.close());
  } catch {
    return undefined;
  }
}
