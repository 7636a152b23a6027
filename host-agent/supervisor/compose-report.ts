/** The report on one VM, in each part of its life on this host. Pure. */
import type { VmJournal } from '../journal/token.ts';
import type { VmReport } from '../protocol/vm-report.ts';
import type { VmSnapshot } from '../vm/vm-driver.ts';

const WHY_LIMIT = 500;

/** How a VM's stay ends. */
export interface End {
  readonly failed: boolean;
  readonly why: string;
  /** It waits in the store; null: it never ran here. */
  readonly parked?: { readonly stoppedAtMs: number | null };
}

/** Before there is a driver: its network is being made. */
export function reportPreparing({ vmId, epoch, class: size, pool }: VmJournal): VmReport {
  return {
    vmId,
    epoch,
    phase: 'allocating',
    class: size,
    assignedJob: null,
    accelerator: pool.accelerator,
    qemuPid: null,
    guestKernel: null,
    runner: { state: 'waiting' },
    why: null,
    startedAtMs: null,
    guestReadyAtMs: null,
    runnerStartedAtMs: null,
    stoppedAtMs: null,
  };
}

/** It is in the store, or not, as an earlier agent's parking went: the store is being asked. */
export function reportSettling(journal: VmJournal): VmReport {
  const { parking } = journal;
  const word = parking === undefined ? {} : { parking: { epoch: parking.epoch, failed: null } };
  return { ...reportPreparing(journal), ...word, phase: 'draining' };
}

/** A stopped VM counts as draining until everything of it is gone from the host. */
export function reportDriven(
  { epoch }: VmJournal,
  snapshot: VmSnapshot,
  isEnding: boolean,
): VmReport {
  const phase = isEnding && snapshot.phase === 'stopped' ? 'draining' : snapshot.phase;
  return { ...snapshot, epoch, phase };
}

/** The last word: whatever the driver said before, the VM is over now. */
export function reportEnded(last: VmReport, end: End & { readonly nowMs: number }): VmReport {
  const { tracking: _, parking: __, ...said } = last;
  if (end.parked !== undefined) {
    const stoppedAtMs = end.parked.stoppedAtMs ?? Math.round(end.nowMs);
    const over = { qemuPid: null, why: end.why.slice(0, WHY_LIMIT), stoppedAtMs };
    return { ...said, ...over, phase: 'stopped', parked: true };
  }
  return {
    ...said,
    phase: end.failed || last.phase === 'failed' ? 'failed' : 'stopped',
    qemuPid: null,
    why: (last.why ?? end.why).slice(0, WHY_LIMIT),
    stoppedAtMs: last.stoppedAtMs ?? Math.round(end.nowMs),
  };
}
