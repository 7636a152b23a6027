/** The reads behind `assembleObserved`, and the writes of what the reports changed. */
import type { VmId } from '../../host-agent/protocol/ids.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';
import type { Observed } from '../planner/observed.ts';
import type { RecordStore } from '../records/record-store.ts';
import type { JobRecord, VmRecord } from '../records/records.ts';
import { assembleObserved, unrecordedVms } from './assemble-observed.ts';
import type { Evidence, Fleet, PoolSource } from './ports.ts';

export interface ObserverPorts {
  readonly store: RecordStore;
  readonly evidence: Evidence;
  readonly fleet: Fleet;
  readonly pools: PoolSource;
}

/**
 * Reads everything and writes the VM records that changed; a record that another writer changed
 * meanwhile is left to the next tick. Undefined when Redis was emptied: nothing read is to be trusted.
 */
export async function observe(
  { store, evidence, fleet, pools }: ObserverPorts,
  { nowMs, lookingSinceMs }: { readonly nowMs: number; readonly lookingSinceMs: number },
): Promise<Observed | undefined> {
  // First, so that what is known of a job is never older than what is known of its VM.
  const hosts = fleet.hosts();
  const [openJobs, vms] = await Promise.all([store.listOpenJobs(), store.listVms()]);
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
  const { observed, changedVms } = assembleObserved({
    jobs: [...jobs, ...adoptedJobs],
    vms,
    hosts,
    pool: pools.pool(),
    adoptable,
    lookingSinceMs,
    nowMs,
  });
  await Promise.all(changedVms.map((vm) => writeVm({ store, evidence, vm, nowMs, adoptable })));
  return observed;
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
  if (!(await store.putVm(next, nowMs))) return;
  evidence.rememberVm(next);
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
