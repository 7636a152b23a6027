/**
 * A VM's record brought up to date with its host's newest report. Pure.
 *
 * Phases only move forward, so a report that is older than what the record knows changes nothing.
 * Two phases are ours to derive: `busy`, once GitHub says `in_progress`; and `draining`, once the
 * runner has ended (`phaseSinceMs` is then when we saw its end). A VM that is being moved has not ended
 * because one of its hosts says so: its migration decides which of them counts.
 */
import type { JobId } from '../../host-agent/protocol/ids.ts';
import type { VmPhase, VmReport } from '../../host-agent/protocol/vm-report.ts';
import type { VmRecord } from '../records/records.ts';
import { resizedBy } from '../records/vm-resize.ts';

const RANK = {
  allocating: 0,
  starting: 1,
  idle: 2,
  assigned: 3,
  busy: 4,
  draining: 5,
  stopped: 6,
  failed: 6,
} satisfies Record<VmPhase, number>;

/** The same record (by identity) when nothing changed. */
export function mergeReport({
  record,
  report,
  runsJob,
  isMoving = false,
  nowMs,
}: {
  readonly record: VmRecord;
  readonly report: VmReport | undefined;
  readonly runsJob: JobId | undefined;
  readonly isMoving?: boolean;
  readonly nowMs: number;
}): VmRecord {
  const ran = runsJob ?? record.runsJob;
  const phase = phaseOf(report, ran !== null);
  const isEnd = phase === 'stopped' || phase === 'failed';
  const moves = phase !== undefined && RANK[phase] > RANK[record.phase] && !(isMoving && isEnd);
  const held = holdingOf(record, report);
  const sized = isMoving ? undefined : resizedBy(record, report);
  const isKnown = held === undefined && sized === undefined;
  if (!moves && ran === record.runsJob && isKnown) return record;
  return {
    ...record,
    ...held,
    ...sized,
    qemuPid: report?.qemuPid ?? record.qemuPid,
    guestKernel: report?.guestKernel ?? record.guestKernel,
    accelerator: report?.accelerator ?? record.accelerator,
    runsJob: ran,
    phase: moves ? phase : record.phase,
    phaseSinceMs: moves ? nowMs : record.phaseSinceMs,
    why: moves ? (report?.why ?? record.why) : record.why,
  };
}

/** What is known of its token, process and newest checkpoint; undefined when that is nothing new. */
function holdingOf(record: VmRecord, report: VmReport | undefined) {
  const epoch = Math.max(record.epoch, report?.epoch ?? 0);
  const lastEpoch = Math.max(record.lastEpoch, epoch);
  const qemuPid = report?.qemuPid ?? record.qemuPid;
  const checkpointAtMs = report?.tracking?.lastCheckpoint?.atMs ?? null;
  const lastCheckpointAtMs = checkpointAtMs ?? record.lastCheckpointAtMs;
  const isKnown =
    epoch === record.epoch &&
    lastEpoch === record.lastEpoch &&
    qemuPid === record.qemuPid &&
    lastCheckpointAtMs === record.lastCheckpointAtMs;
  return isKnown ? undefined : { epoch, lastEpoch, qemuPid, lastCheckpointAtMs };
}

function phaseOf(report: VmReport | undefined, runs: boolean): VmPhase | undefined {
  if (report === undefined) return runs ? 'busy' : undefined;
  if (report.phase === 'stopped' || report.phase === 'failed') return report.phase;
  if (report.runner.state === 'exited') return 'draining';
  return report.phase === 'assigned' && runs ? 'busy' : report.phase;
}
