/** From the webhook to the job's first step on a whole fleet with real VMs, one job at a time. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { JobDetail } from '../../app/api/views.ts';
import { callApi } from '../../app/cli/api-client.ts';
import { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import type { Bench, BenchContext, BenchResult } from './bench.ts';
import { formatNumber, summarize } from './statistics.ts';

const JOBS = 10;
const HOSTS = 2;
const JOB_LIMIT_MS = 180_000;
const POLL_MS = 100;
const TARGET_MS = 2_000;
const WORKFLOW = `name: bench
on: push
jobs:
  bench:
    runs-on: architect
    steps:
      - run: echo here I am
`;

/** In the order of a job's way; the last is what counts. */
const MOMENTS = [
  'VM requested',
  'QEMU started',
  'guest agent answers',
  'grown, configuration handed in',
  'runner online at GitHub',
  'runner has its job',
  'first step runs',
] as const;

/** The first of MOMENTS, as the control plane calls them; the others are GitHub's to know. */
const HOST_MOMENTS = ['vm-requested', 'vm-started', 'guest-ready', 'runner-online'] as const;

/** Since the webhook was received, milliseconds, in the order of MOMENTS. */
type Way = readonly number[];

export const latencyBench: Bench = {
  name: 'latency',
  about: "from the webhook to the job's first step, on a whole simulated fleet",
  run: async (context) => describe(await measureAll(context)),
};

async function measureAll({ signal, progress }: BenchContext): Promise<readonly Way[]> {
  const name = `bench${randomBytes(2).toString('hex')}`;
  const fleet = await SimulatedFleet.start({ name, hosts: HOSTS, progress, signal });
  const ways: Way[] = [];
  try {
    for (let n = 0; n < JOBS; n += 1) {
      const way = await runJob(fleet, signal);
      ways.push(way);
      progress(`job ${n + 1}: ${way.map((ms) => formatNumber(ms)).join(', ')} ms`);
    }
  } finally {
    const leftovers = await fleet.close();
    if (leftovers.length > 0) progress(`left over: ${leftovers.join(', ')}`);
  }
  return ways;
}

/** Runs one job to its end, and waits until its VM is gone and the host free again. */
async function runJob({ github, api }: SimulatedFleet, stop: AbortSignal): Promise<Way> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(JOB_LIMIT_MS)]);
  const [pushed] = await github.push(WORKFLOW, signal);
  if (pushed === undefined) throw new Error('the workflow has no job');
  for (;;) {
    const path = `/jobs/${pushed.id}`;
    const detail = await callApi(api, { method: 'GET', path, answer: JobDetail }).catch(
      () => undefined,
    );
    if (detail !== undefined && atOf(detail, 'vm-destroyed') !== undefined) {
      const job = await github.readJob(pushed.id, signal);
      if (job.conclusion !== 'success') throw new Error(`job ${pushed.id}: ${job.conclusion}`);
      const receivedAtMs = atOf(detail, 'webhook-received');
      const atMs = [
        ...HOST_MOMENTS.map((moment) => atOf(detail, moment)),
        ...[job.runnerOnlineAtMs, job.assignedAtMs, job.firstStepAtMs],
      ];
      return atMs.map((at) => (at ?? Number.NaN) - (receivedAtMs ?? Number.NaN));
    }
    await delay(POLL_MS, undefined, { signal });
  }
}

function atOf({ timeline }: JobDetail, wanted: JobDetail['timeline'][number]['moment']) {
  return timeline.find(({ moment }) => moment === wanted)?.atMs;
}

function describe(ways: readonly Way[]): BenchResult {
  const rows = MOMENTS.map((moment, index) => {
    const until = summarize(ways.map((way) => way[index] ?? 0));
    const own = ways.map((way) => (way[index] ?? 0) - (index === 0 ? 0 : (way[index - 1] ?? 0)));
    return [moment, ...[summarize(own).p50, until.p50, until.max].map(formatNumber)];
  });
  const total = summarize(ways.map((way) => way.at(-1) ?? 0));
  return {
    tables: [
      {
        title: `${ways.length} jobs, milliseconds since the webhook was received`,
        headings: ['until', 'step p50', 'p50', 'max'],
        rows,
      },
    ],
    targets: [
      {
        what: 'webhook received → first step running, p50',
        wanted: `at most ${TARGET_MS} ms`,
        measured: `${formatNumber(total.p50)} ms`,
        met: total.p50 <= TARGET_MS,
      },
    ],
    figures: { moments: MOMENTS, ways },
  };
}
