/**
 * `npm run demo`: one job on a simulated fleet, from webhook to green, with its log and timeline.
 *
 *   sweep → fleet up → push workflow → follow the log → VM gone → fleet down → leftovers → report
 */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { JobDetail } from '../api/views.ts';
import { callApi } from '../cli/api-client.ts';
import { CliError } from '../cli/cli-error.ts';
import {
  DemoReport,
  formatTimeline,
  type Moments,
  parseGuestKernel,
  toMoves,
  toTimeline,
} from './report.ts';
import { SimulatedFleet } from './simulated-fleet.ts';
import type { SimulatedJob } from './simulated-github.ts';

const HOSTS = 2;
const JOB_LIMIT_MS = 10 * 60_000;
const POLL_MS = 200;

export interface DemoOptions {
  readonly report?: string;
  /** Leave the fleet running after the job, until Ctrl-C. */
  readonly keep: boolean;
}

/** Throws CliError when the job is not green or something is left over; cleans up in every case. */
export async function runDemo({ report: reportPath, keep }: DemoOptions): Promise<void> {
  const stop = new AbortController();
  const onSignal = () => stop.abort(new CliError('Stopped. Everything was cleaned up.'));
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, onSignal);
  const fleet = await SimulatedFleet.start({
    name: `demo${randomBytes(2).toString('hex')}`,
    hosts: HOSTS,
    progress: say,
    signal: stop.signal,
  });
  const { outcome, leftovers } = await runOn(fleet, keep, stop.signal);
  await conclude({ outcome, leftovers, reportPath });
}

async function runOn(fleet: SimulatedFleet, keep: boolean, signal: AbortSignal) {
  try {
    const outcome = await runJob(fleet, signal);
    if (keep) await holdUntilStopped(fleet, signal);
    say('ending the fleet');
    return { outcome, leftovers: await fleet.close() };
  } catch (error) {
    say('cleaning up');
    await fleet.close();
    throw error;
  }
}

interface Outcome {
  readonly simulated: SimulatedJob;
  readonly log: string;
  readonly detail: JobDetail;
}

async function runJob(fleet: SimulatedFleet, signal: AbortSignal): Promise<Outcome> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(JOB_LIMIT_MS)]);
  const [job] = await fleet.github.push(await readWorkflow(fleet), limit);
  if (job === undefined) throw new CliError("The demo's workflow has no job.");
  const jobId = job.id;
  say(`pushed a workflow; job ${jobId} is queued. Its log:\n`);
  await fleet.github.followLog(jobId, (text) => process.stdout.write(indent(text)), limit);
  say('\nwaiting for the VM to be destroyed');
  return await untilSettled(fleet, jobId, limit);
}

async function readWorkflow({ peer }: SimulatedFleet): Promise<string> {
  const text = await readFile(new URL('workflow.yml', import.meta.url), 'utf8');
  return text.replace('__PEER_HOST__', peer.host).replace('__PEER_PORT__', String(peer.port));
}

async function untilSettled(
  fleet: SimulatedFleet,
  jobId: string,
  signal: AbortSignal,
): Promise<Outcome> {
  for (;;) {
    const detail = await callApi(fleet.api, {
      method: 'GET',
      path: `/jobs/${jobId}`,
      answer: JobDetail,
    });
    if (momentOf(detail, 'vm-destroyed') !== undefined) {
      const { github } = fleet;
      const simulated = await github.readJob(jobId, signal);
      return { detail, simulated, log: await github.readLog(jobId, signal) };
    }
    await delay(POLL_MS, undefined, { signal });
  }
}

async function holdUntilStopped(fleet: SimulatedFleet, signal: AbortSignal): Promise<void> {
  say(`the fleet stays up. Look at it with: ARCHITECT_FLEET=${fleet.name} npx architect vms`);
  say('Ctrl-C ends it.');
  if (!signal.aborted) {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  }
}

async function conclude(end: {
  readonly outcome: Outcome;
  readonly leftovers: readonly string[];
  readonly reportPath: string | undefined;
}): Promise<void> {
  const { outcome, leftovers, reportPath } = end;
  const report = toReport(outcome, leftovers);
  say(`\njob ${report.job.id}: ${report.job.conclusion}, on host ${report.job.host}`);
  say(
    `VM ${report.vm.id}: QEMU pid ${report.vm.qemuPid}, guest kernel ${report.vm.guestKernel}, ` +
      `accelerator ${report.vm.accelerator}`,
  );
  say(`\n${formatTimeline(report.timeline)}\n`);
  if (reportPath !== undefined) await writeFile(reportPath, `${JSON.stringify(report, null, 2)}\n`);
  if (leftovers.length > 0) throw new CliError(`Left over: ${leftovers.join(', ')}.`);
  if (report.job.conclusion !== 'success') {
    throw new CliError(`The job ended as ${report.job.conclusion}; its log is above.`);
  }
}

function toReport({ simulated, log, detail }: Outcome, leftovers: readonly string[]): DemoReport {
  const { job, vm } = detail;
  const moments: Moments = definedOnly({
    'webhook received': momentOf(detail, 'webhook-received'),
    'VM started': momentOf(detail, 'vm-started'),
    'runner online': simulated.runnerOnlineAtMs ?? undefined,
    'first step': simulated.firstStepAtMs ?? undefined,
    notice: momentOf(detail, 'notice'),
    moving: momentOf(detail, 'moving'),
    moved: momentOf(detail, 'moved'),
    done: simulated.completedAtMs ?? undefined,
    'VM destroyed': momentOf(detail, 'vm-destroyed'),
  });
  return DemoReport.parse({
    job: { id: job.id, conclusion: simulated.conclusion ?? 'unknown', host: vm?.hostId },
    vm: {
      id: vm?.id,
      qemuPid: vm?.qemuPid,
      guestKernel: parseGuestKernel(log),
      accelerator: vm?.accelerator,
    },
    timeline: toTimeline(moments),
    moves: toMoves(detail.moves),
    leftovers,
  });
}

function momentOf({ timeline }: JobDetail, wanted: JobDetail['timeline'][number]['moment']) {
  return timeline.find(({ moment }) => moment === wanted)?.atMs;
}

function definedOnly(moments: Record<string, number | undefined>): Moments {
  return Object.fromEntries(Object.entries(moments).filter(([, atMs]) => atMs !== undefined));
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '    ');
}

function say(what: string): void {
  process.stdout.write(`${what}\n`);
}
