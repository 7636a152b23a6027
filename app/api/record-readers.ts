/** The API's view of jobs and VMs: working records first, evidence on disk where those are gone. */
import type { JobId, VmId } from '../../host-agent/protocol/ids.ts';
import type { JobRecord, VmRecord } from '../records/records.ts';
import type { JobReader, VmReader } from './ports.ts';

interface Records {
  listOpenJobs(): Promise<readonly JobRecord[]>;
  listFinishedJobs(limit?: number): Promise<readonly JobRecord[]>;
  readJob(id: JobId): Promise<JobRecord | undefined>;
  listVms(): Promise<readonly VmRecord[]>;
  readVm(id: VmId): Promise<VmRecord | undefined>;
}

interface Memory {
  readJob(id: JobId): JobRecord | undefined;
  readVm(id: VmId): VmRecord | undefined;
}

/** How many finished jobs are looked through for one state. */
const FINISHED_SEARCHED = 1_000;

export function readRecords(records: Records, evidence: Memory): JobReader & VmReader {
  return {
    listJobs: async ({ state, limit }) => {
      const [open, finished] = await Promise.all([
        records.listOpenJobs(),
        records.listFinishedJobs(state === undefined ? limit : FINISHED_SEARCHED),
      ]);
      return chooseJobs([...open, ...finished], { state, limit });
    },
    readJob: async (id) => (await records.readJob(id)) ?? evidence.readJob(id),
    listVms: () => records.listVms(),
    readVm: async (id) => (await records.readVm(id)) ?? evidence.readVm(id),
  };
}

/** Newest first, each once: a job may have ended between the two readings. */
export function chooseJobs(
  jobs: readonly JobRecord[],
  { state, limit }: { readonly state: JobRecord['state'] | undefined; readonly limit: number },
): readonly JobRecord[] {
  const newest = new Map<JobId, JobRecord>();
  for (const job of jobs) {
    const known = newest.get(job.id);
    if (known === undefined || known.generation < job.generation) newest.set(job.id, job);
  }
  return [...newest.values()]
    .filter((job) => state === undefined || job.state === state)
    .toSorted((one, other) => other.queuedAtMs - one.queuedAtMs)
    .slice(0, limit);
}
