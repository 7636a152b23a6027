/**
 * A checkpoint: one point of a VM into the store, while the VM goes on here.
 *
 *   capture ─▶ `cont`: the guest stood for some tens of milliseconds ─▶ chunks ─▶ manifest, head
 *
 * From `cont` on until tracking begins anew nothing of what the guest does is tracked: the images
 * stand still, and that is what is sealed. Whatever fails, the guest runs and the store's last
 * checkpoint stays; a failing store never makes the guest stand longer.
 */
import type { Point } from '../chunks/manifest.ts';
import type { JobId } from '../protocol/ids.ts';
import { type Captured, type CaptureParts, capture, letGoOn } from './capture.ts';
import { describePoint } from './point-facts.ts';
import type { Json, SealFigures } from './worker/data-commands.ts';

/** For the store; a checkpoint that takes longer is not worth the time that nothing is tracked. */
export const STORE_LIMIT_MS = 5 * 60_000;

export interface PointParts extends CaptureParts {
  readonly epoch: number;
  readonly jobId: JobId | null;
  readonly wrappedKey: string;
  /** What a host that starts it has to build (machine-facts.ts). Asked once the guest stands. */
  readonly machine: () => Json;
}

export type CheckpointOutcome =
  | ({ readonly kind: 'published'; readonly atMs: number } & Point & CheckpointCost)
  | { readonly kind: 'failed'; readonly why: string };

export interface CheckpointCost {
  /** How long the guest stood. */
  readonly stopMs: number;
  readonly sealed: SealFigures;
}

/** Rejects only when the guest cannot be let run again, with a QMP error. */
export async function checkpoint(parts: PointParts): Promise<CheckpointOutcome> {
  const captured = await captureOrGoOn(parts);
  if ('why' in captured) return { kind: 'failed', why: captured.why };
  const machine = parts.machine();
  await letGoOn(parts);
  const stopMs = performance.now() - captured.stoppedMonotonicMs;
  try {
    const sealed = await parts.data.call('seal', { limitMs: STORE_LIMIT_MS });
    const { epoch } = parts;
    const point = await publish(parts, { captured, machine, epoch, isParked: false });
    return { kind: 'published', atMs: captured.stoppedAtMs, ...point, stopMs, sealed };
  } catch (error) {
    return { kind: 'failed', why: describe(error) };
  }
}

/** When it could not be captured the guest runs on here, and why is told. */
export async function captureOrGoOn(
  parts: CaptureParts,
): Promise<Captured | { readonly why: string }> {
  try {
    return await capture(parts);
  } catch (error) {
    const why = describe(error);
    // The tracker rests, so that the stream does not keep QEMU from letting go.
    await parts.data.call('hangUp', { why }).catch(() => undefined);
    await letGoOn(parts);
    return { why };
  }
}

export async function publish(
  { data, jobId, wrappedKey }: PointParts,
  point: {
    readonly captured: Captured;
    readonly machine: Json;
    readonly epoch: number;
    readonly isParked: boolean;
    readonly limitMs?: number;
  },
): Promise<Point> {
  const { captured, machine, epoch, isParked, limitMs = STORE_LIMIT_MS } = point;
  const { ramSectionId, stoppedAtMs } = captured;
  const facts = describePoint({ machine, ramSectionId, isParked, stoppedAtMs });
  const createdAtMs = stoppedAtMs;
  return await data.call('publish', { epoch, jobId, wrappedKey, facts, createdAtMs, limitMs });
}

export function describe(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 500);
}
