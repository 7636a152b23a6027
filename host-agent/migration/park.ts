/**
 * A VM is parked: its last point goes into the store, and it is over here.
 *
 *   capture ─▶ chunks ─▶ (1) `parking` journalled ─▶ (2) manifest visible ─▶ (3) end journalled
 *
 * The manifest is of the epoch that whoever resumes it will hold, so the store alone tells whether the
 * VM was parked: its head is at that epoch or beyond. What an agent that is killed leaves, and what
 * the next one makes of it:
 *
 *   before (1)        self, guest paused   nothing is visible: the guest goes on here
 *   (1) to (3)        parking              the guest is not touched before the store has said
 *                                            published ─▶ over here, parked
 *                                            not       ─▶ the head is fenced, so that a put which is
 *                                                         still on its way fails; then it goes on here
 *   after (3)         ended                over here, parked
 *
 * So the guest never runs here when its manifest is or may become visible, which is all that another
 * host may start it from; and until it is visible QEMU, here, has the guest. A store that does not
 * answer leaves that open: the guest stands until it does, or until PARK_DOUBT_MS have passed, when
 * GitHub has given up a runner that stood so long. It is then over here as parked, and the store knows.
 *
 * Fencing takes a head to fence: a VM of which nothing was published yet gets a plain checkpoint
 * first, of the same content, in its own epoch. Whatever fails before (1) the guest goes on here.
 */
import { letGoOn } from './capture.ts';
import { captureOrGoOn, describe, type PointParts, publish } from './checkpoint.ts';
import type { Settled } from './settle-parking.ts';

export interface ParkingJournal {
  /** (1) Durably. A rejection leaves open whether it is. */
  intend(parking: { readonly epoch: number; readonly stoppedAtMs: number }): Promise<void>;
  /** The VM goes on here. Durably. */
  forget(): Promise<void>;
}

export interface ParkParts extends PointParts {
  /** The epoch of the manifest; `epoch` is the one that the VM is held in. */
  readonly parkEpoch: number;
  readonly journal: ParkingJournal;
  /** What the store says when publishing left it open (settle-parking.ts). */
  readonly settle: (epoch: number) => Promise<Settled>;
  /** Wall clock: what is not published then is given up, if it still can be. */
  readonly deadlineMs: number;
}

export type ParkOutcome =
  /** It is over here. */
  | { readonly kind: 'parked'; readonly stoppedAtMs: number }
  /** It runs here, and is to be tracked anew. */
  | { readonly kind: 'failed'; readonly why: string };

/** Rejects only when the guest cannot be let run again, with a QMP error. */
export async function park(parts: ParkParts): Promise<ParkOutcome> {
  const { data, journal, parkEpoch, deadlineMs, nowMs, signal } = parts;
  const captured = await captureOrGoOn(parts);
  if ('why' in captured) return { kind: 'failed', why: captured.why };
  const machine = parts.machine();
  const leftMs = () => Math.max(1, deadlineMs - nowMs());
  const point = { captured, machine };
  try {
    await data.call('seal', { limitMs: leftMs() });
    if (!(await data.call('isKnown', { limitMs: leftMs() }))) {
      const { epoch } = parts;
      await publish(parts, { ...point, epoch, isParked: false, limitMs: leftMs() });
    }
    signal.throwIfAborted();
    const { stoppedAtMs } = captured;
    await journal.intend({ epoch: parkEpoch, stoppedAtMs });
  } catch (error) {
    return await giveUp(parts, describe(error));
  }
  const stopped = { kind: 'parked', stoppedAtMs: captured.stoppedAtMs } as const;
  try {
    await publish(parts, { ...point, epoch: parkEpoch, isParked: true, limitMs: leftMs() });
    return stopped;
  } catch (error) {
    const settled = await parts.settle(parkEpoch);
    return settled === 'fenced' ? await giveUp(parts, describe(error)) : stopped;
  }
}

/** Nothing of it is visible or will be. A journal that says otherwise is put right by the next agent. */
async function giveUp(parts: ParkParts, why: string): Promise<ParkOutcome> {
  await parts.data.call('hangUp', { why }).catch(() => undefined);
  await parts.journal.forget().catch(() => undefined);
  await letGoOn(parts);
  return { kind: 'failed', why };
}
