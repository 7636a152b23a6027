/** One load: jobs go in as webhooks, and the run is over when nothing of them is left but evidence. */
import { setTimeout as delay } from 'node:timers/promises';
import type { EvidenceStore } from '../../../app/evidence/evidence-store.ts';
import type { JobMoment } from '../../../app/records/records.ts';
import { JobId } from '../../../host-agent/protocol/ids.ts';
import { type Summary, summarize } from '../statistics.ts';
import { openControlPlane, type RunningControlPlane, type Setting } from './control-plane.ts';
import { type OwnedTime, startCpuProfile } from './cpu-profile.ts';
import { FIRST_JOB_ID } from './github-messages.ts';

const LIMIT_MS = 30 * 60_000;
const SETTLE_MS = 60_000;
const LOOK_MS = 20;
const DEPTH_LOOK_MS = 500;
const MEASURED: readonly JobMoment[] = ['vm-requested', 'runner-assigned', 'in-progress'];

export interface LoadResult {
  readonly setting: Setting;
  readonly seconds: number;
  readonly webhooks: number;
  /** From the webhook to each moment, milliseconds. */
  readonly latencies: readonly { readonly moment: JobMoment; readonly ms: Summary }[];
  /** Cores that each part kept busy, on average. */
  readonly cores: {
    readonly controlPlane: number;
    readonly redis: number;
    readonly github: number;
  };
  readonly time: readonly OwnedTime[];
  readonly maxQueueDepth: number;
}

/** Throws when a job did not complete or a VM is left: figures of a wrong run are worth nothing. */
export async function runLoad(setting: Setting, signal: AbortSignal): Promise<LoadResult> {
  const running = await openControlPlane(setting);
  try {
    return await measure(
      setting,
      running,
      AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]),
    );
  } finally {
    await running.close();
  }
}

async function measure(
  setting: Setting,
  running: RunningControlPlane,
  signal: AbortSignal,
): Promise<LoadResult> {
  const { github } = running;
  const watch = watchDepth(running);
  const profile = await startCpuProfile();
  const before = await readCpu(running);
  const beganMs = performance.now();
  github.begin();
  try {
    const webhooks = await Promise.race([github.allCompleted, rejectOn(signal)]);
    await untilForgotten(running, signal);
    const seconds = (performance.now() - beganMs) / 1000;
    const cores = coresOf(before, await readCpu(running), seconds);
    const time = await profile.stop();
    const maxQueueDepth = watch.stop();
    checkEvidence(running, setting.jobs);
    const latencies = readLatencies(running.evidence, setting.jobs);
    return { setting, seconds, webhooks, latencies, cores, time, maxQueueDepth };
  } finally {
    watch.stop();
    await profile.stop();
  }
}

interface CpuUse {
  readonly controlPlane: number;
  readonly redis: number;
  readonly github: number;
}

async function readCpu({ github, redisCpuUs }: RunningControlPlane): Promise<CpuUse> {
  const { user, system } = process.threadCpuUsage();
  return { controlPlane: user + system, redis: await redisCpuUs(), github: await github.cpuUs() };
}

function coresOf(before: CpuUse, after: CpuUse, seconds: number): LoadResult['cores'] {
  const cores = (part: keyof CpuUse) => (after[part] - before[part]) / 1e6 / seconds;
  return { controlPlane: cores('controlPlane'), redis: cores('redis'), github: cores('github') };
}

function watchDepth({ queue }: RunningControlPlane): { stop(): number } {
  let max = 0;
  const look = async () => {
    max = Math.max(max, await queue.depth().catch(() => 0));
  };
  const timer = setInterval(() => void look(), DEPTH_LOOK_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return max;
    },
  };
}

/** The last jobs have completed; their VMs are stopped and forgotten a moment later. */
async function untilForgotten({ fleet, store }: RunningControlPlane, signal: AbortSignal) {
  const deadlineMs = performance.now() + SETTLE_MS;
  while (fleet.vmCount > 0 || (await store.listVms()).length > 0) {
    if (performance.now() > deadlineMs) throw new Error(`${fleet.vmCount} VMs were left`);
    await delay(LOOK_MS, undefined, { signal });
  }
}

function checkEvidence({ evidence, complaints }: RunningControlPlane, jobs: number): void {
  const [complaint] = complaints;
  if (complaint !== undefined) throw new Error(`job ${complaint}`);
  for (const id of jobIds(jobs)) {
    const state = evidence.readJob(id)?.state;
    if (state !== 'completed') throw new Error(`job ${id} is ${state}, not completed`);
  }
}

function readLatencies(evidence: EvidenceStore, jobs: number): LoadResult['latencies'] {
  const times = new Map<JobMoment, number[]>(MEASURED.map((moment) => [moment, []]));
  for (const id of jobIds(jobs)) {
    const timeline = new Map(evidence.timeline(id).map(({ moment, atMs }) => [moment, atMs]));
    const receivedAtMs = timeline.get('webhook-received');
    for (const [moment, list] of times) {
      const atMs = timeline.get(moment);
      if (receivedAtMs !== undefined && atMs !== undefined) list.push(atMs - receivedAtMs);
    }
  }
  return [...times].map(([moment, list]) => ({ moment, ms: summarize(list) }));
}

function jobIds(count: number): readonly JobId[] {
  return Array.from({ length: count }, (_, index) => JobId.parse(String(FIRST_JOB_ID + index)));
}

function rejectOn(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return promise;
}
