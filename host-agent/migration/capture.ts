/**
 * One consistent point of a running guest, taken out of its QEMU: what a checkpoint and a parking have
 * in common.
 *
 *   disk pulse, stream calm (the guest runs) ─▶ gate held, `stop` ─▶ last pages ∥ last clusters at
 *   `pre-switchover` ─▶ devices, end of stream ─▶ `postmigrate`: images stand still
 *
 * On success the guest is stopped and the gate held; `letGoOn` is the way back. On failure too, if
 * it was stopped; `letGoOn` is right in every state. Stopped by QMP `stop` first, so that no broken
 * stream wakes it (FACTS).
 */
import type { QmpClient } from '../vm/qmp/qmp-client.ts';
import type { GuestGate } from './guest-gate.ts';
import { cancelHold, finishHeld } from './tracking/held-migration.ts';
import type { VmData } from './worker/vm-data.ts';

export interface CaptureParts {
  readonly qmp: QmpClient;
  readonly data: Pick<VmData, 'call'>;
  /** What the guest wrote to its disk since the last pulse is in the image when it resolves. */
  readonly pulseDisk: () => Promise<void>;
  readonly gate: GuestGate;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
}

export interface Captured {
  readonly ramSectionId: number;
  /** Wall clock. */
  readonly stoppedAtMs: number;
  /** On the monotonic clock. */
  readonly stoppedMonotonicMs: number;
}

/** Rejects with what broke, or the signal's reason. */
export async function capture(parts: CaptureParts): Promise<Captured> {
  const { qmp, data, pulseDisk, gate, nowMs, signal } = parts;
  await pulseDisk();
  await data.call('calm');
  // What it wrote meanwhile, so that little of that is left while it stands.
  await pulseDisk();
  signal.throwIfAborted();
  gate.hold();
  const stopped = { stoppedAtMs: Math.round(nowMs()), stoppedMonotonicMs: performance.now() };
  await qmp.run('stop');
  const held = finishHeld(qmp, { beforeContinue: pulseDisk, signal });
  const [{ ramSectionId }] = await Promise.all([data.call('capture'), held]);
  return { ramSectionId, ...stopped };
}

/** The guest runs on here, if it may. QEMU holds no migration then, and has to be tracked anew. */
export async function letGoOn({ qmp, gate }: Pick<CaptureParts, 'qmp' | 'gate'>): Promise<void> {
  await cancelHold(qmp).catch(() => undefined);
  await gate.release();
}
