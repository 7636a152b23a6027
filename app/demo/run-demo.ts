/**
 * `npm run demo`: one job on a simulated fleet, from webhook to green, with its log and timeline.
 *
 *   sweep → fleet up → push workflow → follow the log → VM gone → fleet down → leftovers → report
 *                                          └─ the job's host is taken back in the middle of it
 */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { JobDetail } from '../api/views.ts';
import { callApi } from '../cli/api-client.ts';
import { CliError } from '../cli/cli-error.ts';
import type { PeerWord } from './peer-word.ts';
import {
  DemoReport,
  formatMoves,
  formatTimeline,
  type Moments,
  parseGuestKernel,
  parseResets,
  toMoves,
  toTimeline,
} from './report.ts';
import { requireFolder } from './report-file.ts';
import { SimulatedFleet } from './simulated-fleet.ts';
import type { SimulatedJob } from './simulated-github.ts';

const HOSTS = 2;
const JOB_LIMIT_MS = 10 * 60_000;
const POLL_MS = 200;
/** The job says this when it begins what a move must not disturb. */
const MIDDLE = 'talking to the server outside\n';
/** As GCP and Azure give it; EC2 gives four times as much. */
const NOTICE_MS = 30_000;

export interface DemoOptions {
  readonly report?: string;
  /** Leave the fleet running after the job, until Ctrl-C. */
  readonly keep: boolean;
  /** The report goes to standard output, and what people read to standard error. */
  readonly json: boolean;
}

/** A run that is under way. */
interface Run {
  readonly fleet: SimulatedFleet;
  readonly signal: AbortSignal;
  readonly write: Write;
}

type Write = (text: string) => void;

/** Throws CliError when the job is not green or something is left over; cleans up in every case. */
export async function runDemo(options: DemoOptions): Promise<void> {
  if (options.report !== undefined) await requireFolder(options.report);
  const shown = options.json ? process.stderr : process.stdout;
  const write: Write = (text) => void shown.write(text);
  const stop = new AbortController();
  const onSignal = () => stop.abort(new CliError('Stopped. Everything was cleaned up.'));
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, onSignal);
  try {
    const fleet = await SimulatedFleet.start({
      name: `demo${randomBytes(2).toString('hex')}`,
      hosts: HOSTS,
      gateway: true,
      progress: (what) => write(`${what}\n`),
      signal: stop.signal,
    });
    const end = await runOn({ fleet, write, signal: stop.signal }, options.keep);
    await conclude({ ...end, options, write });
  } catch (error) {
    // What the signal interrupted throws an abort of its own, wherever it was.
    stop.signal.throwIfAborted();
    throw error;
  }
}

async function runOn(run: Run, keep: boolean) {
  const { fleet, write } = run;
  try {
    const outcome = await runJob(run);
    if (keep) await holdUntilStopped(run);
    write('ending the fleet\n');
    return { outcome, leftovers: await fleet.close() };
  } catch (error) {
    write('cleaning up\n');
    await fleet.close();
    throw error;
  }
}

interface Outcome {
  readonly simulated: SimulatedJob;
  readonly log: string;
  readonly detail: JobDetail;
  readonly peer: PeerWord;
}

async function runJob(run: Run): Promise<Outcome> {
  const { fleet, signal, write } = run;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(JOB_LIMIT_MS)]);
  const [job] = await fleet.github.push(await readWorkflow(fleet), limit);
  if (job === undefined) throw new CliError("The demo's workflow has no job.");
  const jobId = job.id;
  write(`pushed a workflow; job ${jobId} is queued. Its log:\n\n`);
  const middle = Promise.withResolvers<void>();
  const log = fleet.github.followLog(jobId, showLog(write, middle.resolve), limit);
  const reclaimed = Promise.race([middle.promise, log]).then(() => reclaim(run, jobId));
  await Promise.all([log, reclaimed]);
  write('\nwaiting for the VM to be destroyed\n');
  return await untilSettled(fleet, jobId, limit);
}

/** Calls back once, when the job has got to its middle. */
function showLog(write: Write, inMiddle: () => void): Write {
  let tail = '';
  return (text) => {
    write(indent(text));
    tail = (tail + text).slice(-(text.length + MIDDLE.length));
    if (tail.includes(MIDDLE)) inMiddle();
  };
}

/** Its host, wherever it runs now. */
async function reclaim({ fleet, write }: Run, jobId: string): Promise<void> {
  const { vm } = await readJob(fleet, jobId);
  if (vm === null) return;
  await fleet.reclaim(vm.hostId, NOTICE_MS);
  write(`\nthe cloud takes back ${vm.hostId}, in ${NOTICE_MS / 1000} s\n\n`);
}

function readJob({ api }: SimulatedFleet, jobId: string): Promise<JobDetail> {
  return callApi(api, { method: 'GET', path: `/jobs/${jobId}`, answer: JobDetail });
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
    const detail = await readJob(fleet, jobId);
    if (momentOf(detail, 'vm-destroyed') !== undefined) {
      const { github } = fleet;
      const simulated = await github.readJob(jobId, signal);
      const log = await github.readLog(jobId, signal);
      return { detail, simulated, log, peer: await fleet.readPeer() };
    }
    await delay(POLL_MS, undefined, { signal });
  }
}

async function holdUntilStopped({ fleet, signal, write }: Run): Promise<void> {
  const look = `ARCHITECT_FLEET=${fleet.name} npx architect vms`;
  write(`the fleet stays up. Look at it with: ${look}\nCtrl-C ends it.\n`);
  if (!signal.aborted) {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  }
}

async function conclude(end: {
  readonly outcome: Outcome;
  readonly leftovers: readonly string[];
  readonly options: DemoOptions;
  readonly write: Write;
}): Promise<void> {
  const { outcome, leftovers, options, write } = end;
  const report = toReport(outcome, leftovers);
  write(presentReport(report));
  const json = `${JSON.stringify(report, null, 2)}\n`;
  if (options.json) process.stdout.write(json);
  if (options.report !== undefined) await writeFile(options.report, json);
  if (leftovers.length > 0) throw new CliError(`Left over: ${leftovers.join(', ')}.`);
  if (report.job.conclusion !== 'success') {
    throw new CliError(`The job ended as ${report.job.conclusion}; its log is above.`);
  }
}

function presentReport({ job, vm, timeline, moves, resets, longestSilenceMs }: DemoReport): string {
  return `
job ${job.id}: ${job.conclusion}, on host ${job.host}
VM ${vm.id}: QEMU pid ${vm.qemuPid}, guest kernel ${vm.guestKernel}, accelerator ${vm.accelerator}

${formatTimeline(timeline)}

${formatMoves(moves)}
connections of the job that broke: ${resets}
longest silence that the server outside saw: ${longestSilenceMs} ms

`;
}

function toReport(
  { simulated, log, detail, peer }: Outcome,
  leftovers: readonly string[],
): DemoReport {
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
    resets: parseResets(log),
    longestSilenceMs: peer.longestSilenceMs,
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
