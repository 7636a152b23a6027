/** Jobs queued all at once, through the whole control plane, until each is planned a VM. */
import { setTimeout as delay } from 'node:timers/promises';
import { JobId } from '../../../host-agent/protocol/ids.ts';
import { type Summary, summarize } from '../statistics.ts';
import { openControlPlane, type RunningControlPlane } from '../throughput/control-plane.ts';
import { FIRST_JOB_ID } from '../throughput/github-messages.ts';

const LIMIT_MS = 10 * 60_000;
const LOOK_MS = 50;
const VMS_PER_HOST = 8;

export interface Burst {
  readonly jobs: number;
  readonly webhookSeconds: number;
  readonly lastPlanSeconds: number;
  readonly planMs: Summary;
}

/** Throws when a job is not planned in LIMIT_MS. */
export async function measureBurst(jobs: number, signal: AbortSignal): Promise<Burst> {
  const hosts = Math.ceil(jobs / VMS_PER_HOST);
  const running = await openControlPlane({ jobs, openJobs: jobs, hosts, held: true });
  try {
    running.github.begin();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
    await untilPlanned(running, jobs, limit);
    return readBurst(running, jobs);
  } finally {
    await running.close();
  }
}

async function untilPlanned(
  { fleet, github }: RunningControlPlane,
  jobs: number,
  signal: AbortSignal,
): Promise<void> {
  const failed = github.allCompleted.then(() => undefined);
  while (fleet.vmCount < jobs) {
    await Promise.race([delay(LOOK_MS, undefined, { signal }), failed]);
  }
}

function readBurst({ evidence }: RunningControlPlane, jobs: number): Burst {
  const received: number[] = [];
  const planned: number[] = [];
  for (let n = 0; n < jobs; n += 1) {
    const id = JobId.parse(String(FIRST_JOB_ID + n));
    const moments = new Map(evidence.timeline(id).map(({ moment, atMs }) => [moment, atMs]));
    const [receivedAtMs, plannedAtMs] = [
      moments.get('webhook-received'),
      moments.get('vm-requested'),
    ];
    if (receivedAtMs === undefined || plannedAtMs === undefined)
      throw new Error(`job ${id} was not planned`);
    received.push(receivedAtMs);
    planned.push(plannedAtMs);
  }
  const last = (times: readonly number[]) => times.reduce((a, b) => Math.max(a, b), 0);
  const first = received.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  return {
    jobs,
    webhookSeconds: (last(received) - first) / 1000,
    lastPlanSeconds: (last(planned) - last(received)) / 1000,
    planMs: summarize(planned.map((atMs, n) => atMs - (received[n] ?? atMs))),
  };
}
