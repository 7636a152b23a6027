/** The reads behind `assembleObserved`, and the writes of what the reports changed. */
import type { VmId } from '../../host-agent/protocol/ids.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';
import type { Observed } from '../planner/observed.ts';
import type { MigrationRecord } from '../records/migration-record.ts';
import { isWeighty } from '../records/migration-state.ts';
import type { RecordStore } from '../records/record-store.ts';
import type { JobMoment, JobRecord, VmRecord } from '../records/records.ts';
import type { AdvancedMove } from './advance-moves.ts';
import { assembleObserved, unrecordedVms } from './assemble-observed.ts';
import type { ExecutorPorts } from './executor.ts';
import type { Evidence } from './ports.ts';

export type ObserverPorts = Pick<
  ExecutorPorts,
  'store' | 'evidence' | 'fleet' | 'pools' | 'machines' | 'emptying' | 'shareOf'
>;

/** How long an ended migration still says where its VM is, and on which target an attempt failed. */
const ENDED_SHOWN_MS = 60_000;

/**
 * Reads everything and writes the VM records that changed; a record that another writer changed
 * meanwhile is left to the next tick. Undefined when Redis was emptied: nothing read is to be trusted.
 */
export async function observe(
  ports: ObserverPorts,
  { nowMs, lookingSinceMs }: { readonly nowMs: number; readonly lookingSinceMs: number },
): Promise<Observed | undefined> {
  // First, so that what is known of a job is never older than what is known of its VM.
  const { store, evidence, fleet, pools, machines } = ports;
  const hosts = fleet.hosts();
  const [openJobs, vms, migrations] = await Promise.all([
    store.listOpenJobs(),
    store.listVms(),
    store.listMigrations(nowMs - ENDED_SHOWN_MS),
  ]);
  const jobs = [...openJobs, ...(await readReferencedJobs(store, openJobs, vms))];
  if (!(await store.hasMarker())) return undefined;
  const adoptable = readAdoptable(evidence, unrecordedVms(hosts, vms));
  const known = new Set(jobs.map((job) => job.id));
  const adoptedJobs = [...adoptable.values()].flatMap((vm) =>
    [vm.forJob, vm.runsJob].flatMap((id) => {
      const job = id === null || known.has(id) ? undefined : evidence.readJob(id);
      if (job !== undefined) known.add(job.id);
      return job ?? [];
    }),
  );
  const { observed, changedVms, changedMoves } = assembleObserved({
    jobs: [...jobs, ...adoptedJobs],
    vms,
    hosts,
    pool: pools.pool(),
    shareOf: ports.shareOf,
    adoptable,
    migrations,
    wishes: evidence.openWishes(),
    drained: new Set([...evidence.drainedHosts(), ...(ports.emptying?.() ?? [])]),
    isGone: (host) => machines?.isGone(host) ?? false,
    lookingSinceMs,
    nowMs,
  });
  const before = new Map(vms.map((vm) => [vm.id, vm]));
  await rememberMoves(evidence, changedMoves, changedVms.filter(hasMoved(before)));
  await Promise.all([
    ...changedMoves.map(({ now }) => writeMove(ports, now, nowMs)),
    ...changedVms.map((vm) => writeVm({ store, evidence, vm, nowMs, adoptable })),
  ]);
  return observed;
}

/** It is elsewhere now, or somebody else's to run. */
function hasMoved(before: ReadonlyMap<VmId, VmRecord>): (vm: VmRecord) => boolean {
  return (vm) => {
    const known = before.get(vm.id);
    return known !== undefined && (known.hostId !== vm.hostId || known.epoch !== vm.epoch);
  };
}

/** Where VMs went is on disk before anything that follows from it. */
async function rememberMoves(
  evidence: Evidence,
  moves: readonly AdvancedMove[],
  vms: readonly VmRecord[],
): Promise<void> {
  const weighty = moves.filter(({ before, now }) => isWeighty(before, now));
  for (const { now } of weighty) {
    evidence.rememberMigration(now);
    const moment = momentOfMove(now);
    if (moment !== undefined && now.jobId !== null)
      evidence.moment(now.jobId, moment, now.endedAtMs ?? now.stoppedAtMs ?? now.phaseSinceMs);
  }
  for (const vm of vms) evidence.rememberVm(vm);
  await evidence.written();
}

function momentOfMove({ kind, phase }: MigrationRecord): JobMoment | undefined {
  if (phase === 'parked') return 'parked';
  if (phase === 'done' && kind === 'rewind') return 'rewound';
  return phase === 'committed' || phase === 'done' ? 'moved' : undefined;
}

/** One that another writer changed meanwhile is left to the next tick. */
async function writeMove(
  { store, evidence }: Pick<ObserverPorts, 'store' | 'evidence'>,
  move: MigrationRecord,
  nowMs: number,
): Promise<void> {
  const next = { ...move, generation: move.generation + 1 };
  if (await store.putMigration(next, nowMs)) return;
  const stored = await store.readMigration(move.id);
  if (stored === undefined) return;
  evidence.rememberMigration(stored);
  await evidence.written();
}

async function writeVm({
  store,
  evidence,
  vm,
  nowMs,
  adoptable,
}: {
  readonly store: RecordStore;
  readonly evidence: Evidence;
  readonly vm: VmRecord;
  readonly nowMs: number;
  readonly adoptable: ReadonlyMap<VmId, VmRecord>;
}): Promise<void> {
  const next = { ...vm, generation: adoptable.has(vm.id) ? 1 : vm.generation + 1 };
  const isWritten = await store.putVm(next, nowMs);
  const stored = isWritten ? next : await store.readVm(vm.id);
  if (stored === undefined) return;
  evidence.rememberVm(stored);
  await evidence.written();
}

/** Jobs that are over but that a VM was started for or has run. */
async function readReferencedJobs(
  store: RecordStore,
  open: readonly JobRecord[],
  vms: readonly VmRecord[],
): Promise<readonly JobRecord[]> {
  const known = new Set(open.map((job) => job.id));
  const ids = new Set(
    vms.flatMap((vm) => [vm.forJob ?? [], vm.runsJob ?? []].flat()).filter((id) => !known.has(id)),
  );
  return store.readJobs([...ids]);
}

function readAdoptable(
  evidence: Evidence,
  vmIds: readonly VmReport['vmId'][],
): ReadonlyMap<VmId, VmRecord> {
  const found = new Map<VmId, VmRecord>();
  for (const id of vmIds) {
    const record = evidence.readVm(id);
    if (record !== undefined) found.set(id, record);
  }
  return found;
}
