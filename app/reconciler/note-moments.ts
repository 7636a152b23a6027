/** The hosts' times become moments of the job's timeline. */
import type { JobId } from '../../host-agent/protocol/ids.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';
import type { Observed } from '../planner/observed.ts';
import type { JobMoment } from '../records/records.ts';
import type { Evidence, FleetHost } from './ports.ts';

export interface NotedMoment {
  readonly jobId: JobId;
  readonly moment: JobMoment;
  readonly atMs: number;
}

/**
 * Pure: each VM's times, told of the job that it runs, else of the one it was started for. A host is
 * believed about its own VMs only.
 */
export function momentsOf(observed: Observed, hosts: readonly FleetHost[]): NotedMoment[] {
  const known = new Map(observed.vms.map((vm) => [vm.id, vm]));
  return hosts.flatMap((host) =>
    (host.report?.vms ?? []).flatMap((vm) => {
      const { hostId, runsJob, forJob } = known.get(vm.vmId) ?? {};
      const jobId = hostId === host.id ? (runsJob ?? forJob) : undefined;
      if (jobId === undefined) return [];
      return [...momentsOfVm(vm, jobId), ...momentsOfHost(host, jobId)];
    }),
  );
}

/** Writes only what it has not written before. */
export class MomentWriter {
  readonly #evidence: Evidence;
  #written = new Map<string, number>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  /**
   * `moments` is the whole picture: what is no longer in it is dropped from memory. Rejects when the
   * disk does not take them; they are then written the next time.
   */
  async write(moments: readonly NotedMoment[]): Promise<void> {
    const seen = new Map<string, number>();
    for (const { jobId, moment, atMs } of moments) {
      const key = `${jobId} ${moment}`;
      if (this.#written.get(key) !== atMs) this.#evidence.moment(jobId, moment, atMs);
      seen.set(key, atMs);
    }
    await this.#evidence.written();
    this.#written = seen;
  }
}

/** The notice that drove it away is of its host at that time; a later host's would replace it. */
function momentsOfHost({ report }: FleetHost, jobId: JobId): NotedMoment[] {
  const notice = report?.notice;
  if (notice?.kind !== 'interruption') return [];
  return [{ jobId, moment: 'notice', atMs: notice.seenAtMs }];
}

function momentsOfVm(vm: VmReport, jobId: JobId): NotedMoment[] {
  // A host that it came to later has not started it.
  const isFirst = vm.epoch === 1;
  const times: readonly (readonly [JobMoment, number | null])[] = [
    ['vm-started', isFirst ? vm.startedAtMs : null],
    ['guest-ready', isFirst ? vm.guestReadyAtMs : null],
    ['runner-online', isFirst ? vm.runnerStartedAtMs : null],
    ['vm-destroyed', vm.stoppedAtMs],
  ];
  return times.flatMap(([moment, atMs]) => (atMs === null ? [] : [{ jobId, moment, atMs }]));
}
