/** What a step finds in its environment. Pure. */
import type { JobDetails, JobStep } from './wire.ts';

/** The runner's own inputs, among them the JIT configuration: no step may read them. */
const OWN_PREFIX = 'ACTIONS_RUNNER_INPUT_';
const OWN_NAMES = new Set([
  'NODE_COMPILE_CACHE',
  'ACTIONS_RUNNER_HOOK_JOB_STARTED',
  'ACTIONS_RUNNER_HOOK_JOB_COMPLETED',
  'RUNNER_NODE',
]);

export interface StepPlace {
  readonly job: JobDetails;
  readonly runnerName: string;
  readonly workspace: string;
  readonly tempDir: string;
}

export function withoutOwnInputs(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(
      ([name]) => !name.startsWith(OWN_PREFIX) && !OWN_NAMES.has(name),
    ),
  );
}

export function stepEnvironment(
  base: NodeJS.ProcessEnv,
  { job, runnerName, workspace, tempDir }: StepPlace,
  step?: JobStep,
): NodeJS.ProcessEnv {
  return {
    ...withoutOwnInputs(base),
    CI: 'true',
    GITHUB_ACTIONS: 'true',
    GITHUB_REPOSITORY: job.repository,
    GITHUB_REPOSITORY_OWNER: job.repository.split('/')[0],
    GITHUB_RUN_ID: String(job.runId),
    GITHUB_RUN_ATTEMPT: String(job.runAttempt),
    GITHUB_JOB: job.key,
    GITHUB_WORKFLOW: job.workflowName,
    GITHUB_SHA: job.sha,
    GITHUB_REF: job.ref,
    GITHUB_ACTOR: job.actor,
    GITHUB_EVENT_NAME: 'push',
    GITHUB_WORKSPACE: workspace,
    GITHUB_ENV: `${tempDir}/set-env`,
    GITHUB_OUTPUT: `${tempDir}/set-output`,
    GITHUB_PATH: `${tempDir}/add-path`,
    GITHUB_STEP_SUMMARY: `${tempDir}/step-summary`,
    RUNNER_NAME: runnerName,
    RUNNER_OS: 'Linux',
    RUNNER_TEMP: tempDir,
    ...job.env,
    ...step?.env,
  };
}

/** `NAME=value` lines, as a step wrote them into GITHUB_ENV; other lines are ignored. */
export function parseSetEnv(text: string): Record<string, string> {
  const pairs = [...text.matchAll(/^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/gm)];
  return Object.fromEntries(pairs.map(([, name = '', value = '']) => [name, value]));
}
