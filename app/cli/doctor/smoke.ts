/**
 * A real job, from the dispatch of its workflow to its end:
 *
 *   installed? → workflow there? → control plane there? → dispatch, or the user presses the button
 *     → the new run → followed, with GitHub and the control plane looked at → green, or failed because
 *
 * Everything that can be wrong on that way is a report with what to do; only GitHub's own failures
 * are thrown. Ctrl-C ends the waiting, and the job goes on.
 */
import { pino } from 'pino';
import { HostList, JobDetail } from '../../api/views.ts';
import type { Config } from '../../config.ts';
import { createGithubApps } from '../../github/apps.ts';
import { type ApiAddress, callApi, findApi } from '../api-client.ts';
import { CliError } from '../cli-error.ts';
import { follow } from '../follow.ts';
import type { Output } from '../output.ts';
import { judgeSmoke, phasesOf, type SmokePhase, type SmokeSeen } from './judge-smoke.ts';
import { SmokeGithub, type SmokePlace, type SmokeRun } from './smoke-github.ts';
import {
  addWorkflowUrl,
  runWorkflowUrl,
  SMOKE_PATH,
  SMOKE_WORKFLOW,
  type SmokeRepository,
} from './smoke-workflow.ts';

/** GitHub is not asked more often, however often the control plane is. */
const GITHUB_LOOK_MS = 2_000;

export interface SmokeReport {
  readonly repository: string;
  readonly outcome: 'green' | 'failed';
  readonly why: string | null;
  readonly fix: string | null;
  readonly run: { readonly id: number; readonly url: string } | null;
  readonly jobId: string | null;
  /** In the order of time; the first is the dispatch. */
  readonly phases: readonly SmokePhase[];
}

export interface SmokeGiven {
  readonly config: Pick<Config, 'github'>;
  readonly output: Output;
  readonly place: SmokePlace;
  /** For the button, where one is to be pressed, and again for the job. */
  readonly limitMs: number;
}

interface Smoke extends SmokeGiven {
  readonly github: SmokeGithub;
  readonly api: ApiAddress;
  readonly repository: SmokeRepository;
}

export async function runSmoke(given: SmokeGiven): Promise<SmokeReport> {
  const { config, output, place } = given;
  const client = createGithubApps({ github: config.github, logger: pino({ level: 'silent' }) });
  const github = await SmokeGithub.open(client, place);
  if (github === undefined)
    return failed(given, 'The App is not installed there, or may not see that repository.', {
      fix: 'Install it for that repository: architect doctor says where.',
    });
  const repository = await github.readRepository();
  const smoke = { ...given, github, repository, api: findApi(output.environment) };
  const wrong = (await checkWorkflow(smoke)) ?? (await checkControlPlane(smoke));
  if (wrong !== undefined) return wrong;
  const startedAtMs = output.now();
  const run = await startRun(smoke);
  if (run === undefined)
    return failed(smoke, 'No run of the workflow began in time.', {
      fix: `See ${runWorkflowUrl(repository)}, and try again.`,
    });
  return await followRun(smoke, run, startedAtMs);
}

async function checkWorkflow(smoke: Smoke): Promise<SmokeReport | undefined> {
  const state = await smoke.github.readWorkflowState();
  if (state === 'active') return undefined;
  if (state !== undefined)
    return failed(smoke, `Its workflow ${SMOKE_PATH} is ${state}.`, {
      fix: `Enable it: ${runWorkflowUrl(smoke.repository)}`,
    });
  const add = `Add this file, by ${addWorkflowUrl(smoke.repository)} or by a commit to its default branch:`;
  return failed(smoke, `It has no ${SMOKE_PATH}.`, { fix: `${add}\n\n${SMOKE_WORKFLOW}` });
}

async function checkControlPlane(smoke: Smoke): Promise<SmokeReport | undefined> {
  try {
    await callApi(smoke.api, { method: 'GET', path: '/hosts', answer: HostList });
    return undefined;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return failed(smoke, error.message, {
      fix: 'architect start; if it ends at once, its log says why.',
    });
  }
}

/** Undefined: none was there in time. */
async function startRun(smoke: Smoke): Promise<SmokeRun | undefined> {
  const { github, output, repository, limitMs } = smoke;
  const known = new Set((await github.listRuns()).map(({ id }) => id));
  const may = await github.mayDispatch();
  if (may) await github.dispatch(repository.defaultBranch);
  else output.writeProgress(`${pressText(repository)}\n`);
  const read = atMostEvery(GITHUB_LOOK_MS, async () =>
    (await github.listRuns()).findLast(({ id }) => !known.has(id)),
  );
  const endsAtMs = performance.now() + limitMs;
  return await follow(output, {
    read,
    isOver: (run) => run !== undefined || performance.now() > endsAtMs,
    describe: () => (may ? 'GitHub has not made a run of it yet' : 'waiting for the button'),
    whenStopped: 'Stopped. A run that was begun goes on.',
  });
}

function pressText(repository: SmokeRepository): string {
  return (
    'The App may not start workflows (actions: write is not granted, and is needed for this alone). ' +
    `Press "Run workflow" on ${runWorkflowUrl(repository)}`
  );
}

async function followRun(
  smoke: Smoke,
  { id, pageUrl }: SmokeRun,
  startedAtMs: number,
): Promise<SmokeReport> {
  const { github, output, limitMs } = smoke;
  output.writeProgress(`run ${pageUrl}\n`);
  const beganAtMs = performance.now();
  const look = atMostEvery(GITHUB_LOOK_MS, () => github.readRun(id));
  const seen = await follow<SmokeSeen>(output, {
    read: async () => {
      const { run, job } = await look();
      const detail = job === undefined ? undefined : await readDetail(smoke.api, job.id);
      return { run, job, detail, ageMs: performance.now() - beganAtMs };
    },
    isOver: (now) => judgeSmoke(now, limitMs).kind !== 'waiting',
    describe: (now) => {
      const word = judgeSmoke(now, limitMs);
      return word.kind === 'waiting' ? word.text : word.kind;
    },
    whenStopped: `Stopped. The job goes on: ${pageUrl}`,
  });
  const word = judgeSmoke(seen, limitMs);
  const about = {
    run: { id, url: pageUrl },
    jobId: seen.job?.id ?? null,
    phases: phasesOf(startedAtMs, seen.detail),
  };
  if (word.kind === 'failed') return { ...failed(smoke, word.why, word), ...about };
  const repository = nameOf(smoke.place);
  return { repository, outcome: 'green', why: null, fix: null, ...about };
}

/** Undefined: the control plane does not know it, or does not answer just now. */
async function readDetail(api: ApiAddress, jobId: string): Promise<JobDetail | undefined> {
  try {
    return await callApi(api, { method: 'GET', path: `/jobs/${jobId}`, answer: JobDetail });
  } catch (error) {
    if (error instanceof CliError) return undefined;
    throw error;
  }
}

/** The last value again until its time is over. */
function atMostEvery<T>(everyMs: number, read: () => Promise<T>): () => Promise<T> {
  let last: { readonly value: T; readonly atMs: number } | undefined;
  return async () => {
    const nowMs = performance.now();
    if (last === undefined || nowMs - last.atMs >= everyMs)
      last = { value: await read(), atMs: nowMs };
    return last.value;
  };
}

function failed(
  { place }: SmokeGiven,
  why: string,
  { fix }: { readonly fix: string },
): SmokeReport {
  const none = { run: null, jobId: null, phases: [] };
  return { repository: nameOf(place), outcome: 'failed', why, fix, ...none };
}

function nameOf({ owner, repo }: SmokePlace): string {
  return `${owner}/${repo}`;
}
