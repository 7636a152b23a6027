/**
 * What is done before any plan when Redis is empty (first start, or wiped in mid-job).
 *
 *   records from the evidence, parked VMs and migrations among them → GitHub's word on each open job, and on jobs nobody told us of
 *     → wait until the hosts that held VMs have reported (at most HOSTS_WAIT_MS) → marker
 *
 * Until the marker is set nothing is planned, so no VM is stopped for want of a record. Every part
 * only adds what is missing, so it may be cut off anywhere and begun again. GitHub being down does
 * not hold it up: the evidence stands, and the poll asks again later.
 */
import type { Logger } from 'pino';
import { applyJobFacts, type JobBook } from '../records/apply-job-facts.ts';
import { isStored } from '../records/migration-record.ts';
import type { JobFacts, JobRecord } from '../records/records.ts';
import { hasReported } from './assemble-observed.ts';
import type { Fleet, JobSource } from './ports.ts';

export const HOSTS_WAIT_MS = 30_000;
const ASKED_AT_ONCE = 8;

export interface RecoveryPorts extends JobBook {
  readonly fleet: Fleet;
  readonly jobSource: JobSource;
  readonly now: () => number;
  readonly logger: Logger;
}

export class Recovery {
  readonly #ports: RecoveryPorts;
  #beganAtMs: number | undefined;

  constructor(ports: RecoveryPorts) {
    this.#ports = ports;
  }

  /** True once records are complete; false: call again at the next tick. */
  async isComplete(): Promise<boolean> {
    const { store, now, logger } = this.#ports;
    if (await store.hasMarker()) return true;
    if (this.#beganAtMs === undefined) {
      logger.warn('no records in Redis: rebuilding them from evidence, GitHub and the hosts');
      this.#beganAtMs = now();
    }
    await restoreRecords(this.#ports);
    await askGithub(this.#ports);
    const waitedMs = now() - this.#beganAtMs;
    if (waitedMs < HOSTS_WAIT_MS && !allHostsReported(this.#ports)) return false;
    await store.setMarker();
    this.#beganAtMs = undefined;
    logger.info({ waitedMs }, 'records are rebuilt');
    return true;
  }
}

/** Asks GitHub about the jobs and applies its word; one that cannot be asked is left as it is. */
async function refreshJobs(ports: RecoveryPorts, jobs: readonly JobRecord[]): Promise<void> {
  for (let at = 0; at < jobs.length; at += ASKED_AT_ONCE)
    await Promise.all(
      jobs.slice(at, at + ASKED_AT_ONCE).map((job) =>
        attempt(ports, job.id, async () => {
          const facts = await ports.jobSource.readJob(job.origin, job.id);
          if (facts !== undefined) await applyJobFacts(ports, facts, ports.now());
        }),
      ),
    );
}

async function restoreRecords({ store, evidence, now }: RecoveryPorts): Promise<void> {
  for (const job of evidence.openJobs()) await store.updateJob(job.id, now(), addMissing(job));
  for (const vm of evidence.openVms()) await store.updateVm(vm.id, now(), addMissing(vm));
  for (const move of evidence.openMigrations())
    await store.updateMigration(move.id, now(), addMissing(move));
}

function addMissing<T>(record: T): (stored: T | undefined) => T | undefined {
  return (stored) => (stored === undefined ? record : undefined);
}

async function askGithub(ports: RecoveryPorts): Promise<void> {
  await refreshJobs(ports, ports.evidence.openJobs());
  let open: readonly JobFacts[] = [];
  await attempt(ports, undefined, async () => {
    open = await ports.jobSource.listOpenJobs();
  });
  for (const facts of open)
    await attempt(ports, facts.id, async () => {
      await applyJobFacts(ports, facts, ports.now());
    });
}

async function attempt(
  { logger }: RecoveryPorts,
  jobId: string | undefined,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    logger.warn({ jobId, err: error }, 'GitHub could not be asked; what is known stands');
  }
}

function allHostsReported({ evidence, fleet }: RecoveryPorts): boolean {
  const reported = new Set(
    fleet
      .hosts()
      .filter(hasReported)
      .map((host) => host.id),
  );
  const moves = evidence.openMigrations();
  // A VM in the store is on no host: nobody's report is to be waited for.
  const stored = new Set(moves.filter(isStored).map(({ vmId }) => vmId));
  const needed = [
    ...evidence.openVms().flatMap((vm) => (stored.has(vm.id) ? [] : [vm.hostId])),
    ...moves.flatMap(({ to }) => to ?? []),
  ];
  return needed.every((hostId) => reported.has(hostId));
}
