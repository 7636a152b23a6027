/**
 * What the agents' words make of a migration's record. Pure.
 *
 * Phases only go forward. Each word is believed of whom it is about: the target says that the VM
 * runs there, the source that it runs on there, and neither the other's. So:
 *
 *   target: committed, done        the VM is the target's
 *   source: committed, done        the token is given: nothing can be aborted any more
 *   source: aborted                the source runs on
 *   target: aborted                it will never run this epoch; over once the source does not try
 *
 * Each figure is taken from whoever has it. The source alone measures the blackout, and may tell it
 * only after the target's word ended the move; when its host dies first, it stays unknown.
 *
 * A parking is over when its host says that it failed, or knows nothing of it once the host would not
 * begin it any more; the VM runs on there.
 *
 * A VM in the store goes forth and back between `parked` and `resuming`, once for each host that
 * could not resume it.
 */
import { REQUEST_TIMEOUT_MS } from '../../host-agent/protocol/messages.ts';
import type { MigrationReport } from '../../host-agent/protocol/migration-messages.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';
import { isOpenMove, type MigrationRecord, type MovePhase } from './migration-record.ts';

export interface MoveWords {
  readonly source: MigrationReport | undefined;
  readonly target: MigrationReport | undefined;
  /** What the target says of the VM itself: it may have forgotten how the VM came there. */
  readonly vmAtTarget: VmReport | undefined;
}

/** The furthest that a record comes without the target's word that it runs the VM is the last of these. */
const BEFORE_COMMIT = ['reserving', 'precopy', 'switchover'] as const;

interface Turn {
  readonly phase: MovePhase;
  readonly why?: string | null;
}

/** The same record (by identity) when nothing changed. */
export function stepMove(
  record: MigrationRecord,
  words: MoveWords,
  nowMs: number,
): MigrationRecord {
  if (record.kind !== 'live') return record;
  if (!isOpenMove(record)) return record.phase === 'done' ? addFigures(record, words) : record;
  const { phase, why = null } = turnOf(record, words);
  const said = words.source?.phase;
  const moved: MigrationRecord = {
    ...record,
    ...figuresOf(record, words),
    phase,
    why,
    given: record.given || said === 'committed' || said === 'done' || said === 'lost',
    phaseSinceMs: phase === record.phase ? record.phaseSinceMs : nowMs,
    endedAtMs: isOpenMove({ phase }) ? null : endOf(words, nowMs),
  };
  return sameMove(record, moved) ? record : moved;
}

function addFigures(record: MigrationRecord, words: MoveWords): MigrationRecord {
  const added = { ...record, ...figuresOf(record, words) };
  return sameMove(record, added) ? record : added;
}

function turnOf(record: MigrationRecord, { source, target, vmAtTarget }: MoveWords): Turn {
  if (target === undefined && isHeld(vmAtTarget, record.epoch)) return { phase: 'done' };
  if (target?.phase === 'done' || target?.phase === 'committed') return { phase: target.phase };
  if (target?.phase === 'lost') return { phase: 'lost', why: target.why };
  if (record.phase === 'committed')
    return { phase: source?.phase === 'done' ? 'done' : 'committed' };
  if (source?.phase === 'aborted') return { phase: 'aborted', why: source.why };
  if (source?.phase === 'lost') return { phase: 'lost', why: source.why };
  if (target?.phase === 'aborted' && source === undefined && !record.given)
    return { phase: 'aborted', why: target.why };
  const said = [record.phase, source?.phase, target?.phase];
  const known = BEFORE_COMMIT.findLast((phase) => said.includes(phase));
  const given = source?.phase === 'committed' || source?.phase === 'done';
  return { phase: given ? 'switchover' : (known ?? record.phase) };
}

/** The host holds the VM in this epoch, or has until it ended. */
function isHeld(vm: VmReport | undefined, epoch: number): boolean {
  if (vm === undefined || vm.epoch < epoch) return false;
  return vm.phase !== 'allocating' && vm.phase !== 'starting';
}

function figuresOf(record: MigrationRecord, { source, target }: MoveWords) {
  const most = (key: 'bytesFromSource' | 'bytesFromStore') =>
    Math.max(record[key], source?.[key] ?? 0, target?.[key] ?? 0);
  return {
    blackoutMs: source?.blackoutMs ?? target?.blackoutMs ?? record.blackoutMs,
    bytesFromSource: most('bytesFromSource'),
    bytesFromStore: most('bytesFromStore'),
    bytesLeft: source?.bytesLeft ?? target?.bytesLeft ?? record.bytesLeft,
    packetsLost: lossesOf(source, target) ?? record.packetsLost,
  };
}

/** Each host counts what it dropped itself. */
function lossesOf(source: MoveWords['source'], target: MoveWords['target']): number | null {
  const [here = null, there = null] = [source?.packetsLost, target?.packetsLost];
  return here === null || there === null ? null : here + there;
}

function endOf({ source, target }: MoveWords, nowMs: number): number {
  return target?.endedAtMs ?? source?.endedAtMs ?? nowMs;
}

export interface StoreWords {
  /** What the host that parks it says of the VM. */
  readonly source: VmReport | undefined;
  /** What the host that resumes it says of the VM. */
  readonly target: VmReport | undefined;
}

/** Of a VM that is parked or rewound. The same record (by identity) when nothing changed. */
export function stepStored(
  record: MigrationRecord,
  words: StoreWords,
  nowMs: number,
): MigrationRecord {
  if (record.phase === 'parking') return stepParking(record, words, nowMs);
  if (record.phase === 'resuming') return stepResuming(record, words, nowMs);
  return record;
}

function stepParking(
  record: MigrationRecord,
  { source }: StoreWords,
  nowMs: number,
): MigrationRecord {
  const over = source !== undefined && hasEnded(source);
  if (over && source.parked === true)
    return enter(record, { phase: 'parked', stoppedAtMs: source.stoppedAtMs ?? nowMs }, nowMs);
  if (over) return endMove(record, { phase: 'aborted', why: source.why ?? 'The VM ended.' }, nowMs);
  const why = source === undefined ? undefined : whyNotParked(record, source, nowMs);
  return why === undefined ? record : endMove(record, { phase: 'aborted', why }, nowMs);
}

/** Undefined as long as it may still come to be parked. */
function whyNotParked(
  { epoch, from, deadlineMs }: MigrationRecord,
  { parking }: VmReport,
  nowMs: number,
): string | undefined {
  if (parking?.epoch === epoch) {
    return parking.failed === null
      ? undefined
      : `It was not parked and runs on at ${from}: ${parking.failed}`;
  }
  // A request that comes after the deadline parks nothing.
  if (nowMs < deadlineMs + REQUEST_TIMEOUT_MS) return undefined;
  return `It was not parked and runs on at ${from}, which knows nothing of it.`;
}

function stepResuming(
  record: MigrationRecord,
  { target }: StoreWords,
  nowMs: number,
): MigrationRecord {
  if (target === undefined || !isHeld(target, record.epoch)) return record;
  if (hasEnded(target) && target.parked === true) return couldNotResume(record, nowMs);
  const blackoutMs = record.stoppedAtMs === null ? null : Math.max(0, nowMs - record.stoppedAtMs);
  return { ...endMove(record, { phase: 'done', why: null }, nowMs), blackoutMs };
}

/** Its host could not resume the VM and never ran it: it waits for another one. */
export function couldNotResume(record: MigrationRecord, nowMs: number): MigrationRecord {
  return enter(record, { phase: 'parked', to: null, attempts: record.attempts + 1 }, nowMs);
}

export function endMove(
  record: MigrationRecord,
  end: { readonly phase: 'done' | 'aborted' | 'lost'; readonly why: string | null },
  nowMs: number,
): MigrationRecord {
  const why = end.why?.slice(0, 500) ?? null;
  return enter(record, { ...end, why, endedAtMs: nowMs }, nowMs);
}

function enter(
  record: MigrationRecord,
  change: Partial<MigrationRecord>,
  nowMs: number,
): MigrationRecord {
  return { ...record, ...change, phaseSinceMs: nowMs };
}

function hasEnded(vm: VmReport): boolean {
  return vm.phase === 'stopped' || vm.phase === 'failed';
}

function sameMove(a: MigrationRecord, b: MigrationRecord): boolean {
  return (
    !isWeighty(a, b) &&
    a.bytesFromSource === b.bytesFromSource &&
    a.bytesFromStore === b.bytesFromStore &&
    a.bytesLeft === b.bytesLeft
  );
}

/** More than progress has changed: it belongs on disk. */
export function isWeighty(before: MigrationRecord, after: MigrationRecord): boolean {
  return (
    before.phase !== after.phase ||
    before.given !== after.given ||
    before.to !== after.to ||
    before.epoch !== after.epoch ||
    before.blackoutMs !== after.blackoutMs ||
    before.packetsLost !== after.packetsLost
  );
}
