/**
 * The job's state machine, fed by GitHub's words in any order, late, twice, or not at all. Pure.
 *
 *   (none) ──queued──→ queued ──in_progress──→ in-progress ──completed──→ completed
 *      ├──label refused─→ refused ──────────────completed────────────────────↑
 *      └──in_progress or completed at once (events out of order) ────────────┘
 *   lost (set by the reconciler): a successful `completed` still wins; otherwise it stays lost
 *   vanished (set by the poll): a queued job that GitHub does not know, or does not let us see, any
 *     more. It is completed without a conclusion, and is taken up again when GitHub shows it again.
 *
 * Invariants: a state never goes back but from vanished, so a late `queued` changes nothing after
 * `in_progress` or `completed`; the same facts twice are ignored the second time; facts never
 * overwrite with less.
 */
import type { JobClassification } from '../labels/classify-job.ts';
import { type JobFacts, type JobRecord, vmIdOfRunner } from './records.ts';

export type JobStep =
  | { readonly kind: 'moved'; readonly record: JobRecord }
  | { readonly kind: 'ignored'; readonly why: string };

const MAX_TEXT = 500;

/** `moved` carries the record to write, its generation one above the one that was given. */
export function stepJob({
  record,
  facts,
  classification,
  nowMs,
}: {
  readonly record: JobRecord | undefined;
  readonly facts: JobFacts;
  readonly classification: JobClassification;
  readonly nowMs: number;
}): JobStep {
  if (record === undefined && classification.kind === 'not-ours')
    return { kind: 'ignored', why: 'its labels are not ours' };
  if (facts.status === 'waiting') return { kind: 'ignored', why: 'it waits for an approval' };
  const before =
    record ?? (classification.kind === 'not-ours' ? undefined : first(facts, classification));
  if (before === undefined) return { kind: 'ignored', why: 'its labels are not ours' };
  const after = advance(before, facts, nowMs);
  if (record !== undefined && sameRecord(record, after))
    return { kind: 'ignored', why: `it is ${record.state} already` };
  return { kind: 'moved', record: { ...after, generation: (record?.generation ?? 0) + 1 } };
}

function first(
  facts: JobFacts,
  classification: Exclude<JobClassification, { readonly kind: 'not-ours' }>,
): JobRecord {
  const refusal = classification.kind === 'refused' ? classification.why : null;
  return {
    id: facts.id,
    generation: 1,
    origin: facts.origin,
    name: facts.name.slice(0, MAX_TEXT),
    workflowName: facts.workflowName.slice(0, MAX_TEXT),
    labels: facts.labels.slice(0, 100).map((label) => label.slice(0, MAX_TEXT)),
    class: classification.class,
    state: refusal === null ? 'queued' : 'refused',
    why: refusal,
    conclusion: null,
    runnerName: null,
    vmId: null,
    vmsStarted: 0,
    rerun: null,
    queuedAtMs: facts.createdAtMs,
    startedAtMs: null,
    completedAtMs: null,
    lostAtMs: null,
  };
}

/** Undefined for a job that is not queued: of one that runs, its runner's end is to be waited for. */
export function vanish(record: JobRecord, why: string, nowMs: number): JobRecord | undefined {
  if (record.state !== 'queued') return undefined;
  return { ...record, state: 'completed', why: why.slice(0, MAX_TEXT), completedAtMs: nowMs };
}

/** Its runner has ended, and GitHub does not show the job any more: nobody can say how it went. */
export function endUnseen(record: JobRecord, nowMs: number): JobRecord {
  const why =
    'It ran to its end, but GitHub does not show it any more: the App, its run or its repository is gone.';
  return { ...record, state: 'completed', why, completedAtMs: nowMs };
}

/** GitHub itself never says `completed` without a conclusion. */
function hasVanished(record: JobRecord): boolean {
  return record.state === 'completed' && record.conclusion === null;
}

/** The App may have been installed anew meanwhile: under another id. */
function takeUpAgain(record: JobRecord, { origin }: JobFacts): JobRecord {
  return { ...record, origin, state: 'queued', why: null, completedAtMs: null };
}

function advance(stored: JobRecord, facts: JobFacts, nowMs: number): JobRecord {
  const isBack = hasVanished(stored) && facts.status !== 'completed';
  const record = isBack ? takeUpAgain(stored, facts) : stored;
  if (facts.status === 'completed') return complete(record, facts, nowMs);
  if (facts.status === 'in_progress') return start(record, facts, nowMs);
  return record;
}

function start(record: JobRecord, facts: JobFacts, nowMs: number): JobRecord {
  const neverRan = record.state === 'lost' && record.startedAtMs === null;
  const movable = record.state === 'queued' || record.state === 'in-progress' || neverRan;
  if (!movable) return record;
  return {
    ...withRunner(record, facts),
    state: 'in-progress',
    why: null,
    startedAtMs: record.startedAtMs ?? facts.startedAtMs ?? nowMs,
  };
}

function complete(record: JobRecord, facts: JobFacts, nowMs: number): JobRecord {
  const ended = {
    ...withRunner(record, facts),
    conclusion: record.conclusion ?? facts.conclusion?.slice(0, 32) ?? null,
    startedAtMs: record.startedAtMs ?? startOfCompleted(facts),
    completedAtMs: record.completedAtMs ?? facts.completedAtMs ?? nowMs,
  };
  if (record.state === 'refused') return ended;
  if (record.state === 'lost' && facts.conclusion !== 'success') return ended;
  return { ...ended, state: 'completed', why: null, rerun: null };
}

/** GitHub gives a start time to jobs that were cancelled in the queue, too; they had no runner. */
function startOfCompleted(facts: JobFacts): number | null {
  return facts.runnerName === null ? null : facts.startedAtMs;
}

/** The newest `in_progress` names the runner; an event without a name takes none away. */
function withRunner(record: JobRecord, facts: JobFacts): JobRecord {
  if (facts.runnerName === null) return record;
  return {
    ...record,
    runnerName: facts.runnerName.slice(0, 128),
    vmId: vmIdOfRunner(facts.runnerName) ?? null,
  };
}

function sameRecord(a: JobRecord, b: JobRecord): boolean {
  return (
    a.state === b.state &&
    a.runnerName === b.runnerName &&
    a.conclusion === b.conclusion &&
    a.startedAtMs === b.startedAtMs &&
    a.completedAtMs === b.completedAtMs
  );
}
