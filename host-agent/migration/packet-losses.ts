/**
 * What a move costs a VM in packets, as one of its two hosts counts them: what the tap had no room
 * for, what the switch did not let in, and, at the source, what was left in the tap of a guest that is
 * gone. Null where one of these is not known: without a gateway, or with a switch that does not count.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { readTapDrops, type TapQueue } from '../net/tap-queue.ts';
import type { VmUplink } from '../net/vm-uplink.ts';

/** The guest runs meanwhile, and takes a frame in microseconds. */
const MAX_LOOKS = 20;
const LOOK_EVERY_MS = 1;

/** The VM's packets that did not get to its QEMU here, since the VM is known here. */
export async function readDropped(vm: {
  readonly qemuPid: number | undefined;
  readonly uplink: Pick<VmUplink, 'traffic'> | undefined;
}): Promise<number | null> {
  const { qemuPid, uplink } = vm;
  const traffic = await uplink?.traffic().catch(() => undefined);
  const tapDrops = qemuPid === undefined ? undefined : readTapDrops(qemuPid);
  if (traffic?.dropped === undefined || tapDrops === undefined) return null;
  return traffic.dropped + tapDrops;
}

/**
 * Resolves when nothing waits in the tap any more, or after MAX_LOOKS. Only for a guest that runs, and
 * whose packets go elsewhere by now.
 */
export async function drainTap(tap: Pick<TapQueue, 'hasFrames'>): Promise<void> {
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    // First: what was on its way through this host when the switch flipped gets here meanwhile.
    await sleep(LOOK_EVERY_MS);
    if (!tap.hasFrames()) return;
  }
}

/** Of what both hosts say; null unless both know. */
export function sumLosses(one: number | null, other: number | null): number | null {
  return one === null || other === null ? null : one + other;
}
