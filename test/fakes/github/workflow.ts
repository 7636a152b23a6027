/**
 * From a workflow's YAML to jobs: the part of GitHub's workflow syntax that tests need, and nothing
 * is ignored: an unknown key is refused. Pure.
 * Source: docs.github.com, "Workflow syntax for GitHub Actions".
 */
import { parse } from 'yaml';
import { z } from 'zod';
import { type Contexts, ExpressionError, substitute } from './expressions.ts';
import type { JobPlan, StepPlan } from './model.ts';

const MAX_MATRIX_JOBS = 256;
const DEFAULT_TIMEOUT_MINUTES = 360;
const MINUTE_MS = 60_000;
/** Number 1 is "Set up job". */
const FIRST_STEP_NUMBER = 2;

const Scalar = z.union([z.string(), z.number(), z.boolean()]);
const Env = z.record(z.string(), Scalar).default({});
const Condition = z
  .enum(['success()', 'failure()', 'always()'])
  .default('success()')
  .transform((text) => z.enum(['success', 'failure', 'always']).parse(text.slice(0, -2)));

const Step = z.strictObject({
  name: z.string().optional(),
  run: z.string().min(1),
  env: Env,
  if: Condition,
  'continue-on-error': z.boolean().default(false),
});

const Matrix = z.record(z.string(), z.array(Scalar).min(1));

const Job = z.strictObject({
  name: z.string().optional(),
  'runs-on': z.union([z.string(), z.array(z.string()).min(1)]),
  env: Env,
  'timeout-minutes': z.number().positive().default(DEFAULT_TIMEOUT_MINUTES),
  strategy: z
    .strictObject({ matrix: Matrix.default({}), 'fail-fast': z.boolean().default(true) })
    .default({ matrix: {}, 'fail-fast': true }),
  steps: z.array(Step).min(1),
});
type Job = z.infer<typeof Job>;

const Workflow = z.strictObject({
  name: z.string().default('workflow'),
  on: z.unknown(),
  env: Env,
  permissions: z.unknown().optional(),
  jobs: z.record(z.string(), Job),
});

export interface WorkflowPlan {
  readonly name: string;
  readonly jobs: readonly JobPlan[];
}

export class WorkflowError extends Error {}

/** The events that start it. Throws WorkflowError. */
export function triggersOf(yaml: string): readonly string[] {
  try {
    const { on } = Workflow.parse(parse(yaml));
    if (typeof on === 'string') return [on];
    return Array.isArray(on) ? on.map(String) : Object.keys(Object(on));
  } catch (cause) {
    throw new WorkflowError('Invalid workflow file', { cause });
  }
}

/** `github` is the context of that name. Throws WorkflowError. */
export function parseWorkflow(yaml: string, github: Contexts[string]): WorkflowPlan {
  try {
    const workflow = Workflow.parse(parse(yaml));
    const contexts = { github: { ...github, workflow: workflow.name } };
    const jobs = Object.entries(workflow.jobs).flatMap(([key, job]) =>
      planJob({ key, job, env: workflow.env, contexts }),
    );
    return { name: workflow.name, jobs };
  } catch (cause) {
    const why =
      cause instanceof z.ZodError
        ? z.prettifyError(cause)
        : cause instanceof Error
          ? cause.message
          : '';
    throw new WorkflowError(`Invalid workflow file: ${why}`, { cause });
  }
}

interface KeyedJob {
  readonly key: string;
  readonly job: Job;
  readonly env: z.infer<typeof Env>;
  readonly contexts: Contexts;
}

function planJob({ key, job, env, contexts }: KeyedJob): JobPlan[] {
  const combinations = combine(job.strategy.matrix);
  if (combinations.length > MAX_MATRIX_JOBS) {
    throw new ExpressionError(`The matrix of ${key} makes more than ${MAX_MATRIX_JOBS} jobs.`);
  }
  return combinations.map((matrix, index) => {
    const strategy = { 'job-index': index, 'job-total': combinations.length };
    const all = {
      ...contexts,
      github: { ...contexts.github, job: key },
      matrix,
      strategy,
    };
    return planOne(key, job, { contexts: all, env: { ...env, ...job.env }, matrix });
  });
}

interface Place {
  readonly contexts: Contexts;
  readonly env: z.infer<typeof Env>;
  readonly matrix: z.infer<typeof Env>;
}

function planOne(key: string, job: Job, { contexts, env, matrix }: Place): JobPlan {
  const values = Object.values(matrix);
  const suffix = job.name === undefined && values.length > 0 ? ` (${values.join(', ')})` : '';
  const labels = [job['runs-on']].flat().map((label) => substitute(label, contexts));
  const jobEnv = substituteEnv(env, contexts);
  return {
    key,
    name: `${substitute(job.name ?? key, contexts)}${suffix}`,
    labels,
    env: jobEnv,
    timeoutMs: job['timeout-minutes'] * MINUTE_MS,
    failFast: job.strategy['fail-fast'],
    steps: job.steps.map((step, index) =>
      planStep(step, { number: index + FIRST_STEP_NUMBER, contexts: { ...contexts, env: jobEnv } }),
    ),
  };
}

function planStep(
  step: z.infer<typeof Step>,
  { number, contexts }: { readonly number: number; readonly contexts: Contexts },
): StepPlan {
  const run = substitute(step.run, contexts);
  return {
    number,
    name: substitute(step.name ?? `Run ${run.split('\n')[0]}`, contexts),
    run,
    env: substituteEnv(step.env, contexts),
    condition: step.if,
    continueOnError: step['continue-on-error'],
  };
}

function substituteEnv(env: z.infer<typeof Env>, contexts: Contexts): Record<string, string> {
  const entries = Object.entries(env);
  return Object.fromEntries(entries.map(([name, v]) => [name, substitute(String(v), contexts)]));
}

function combine(matrix: z.infer<typeof Matrix>): Record<string, z.infer<typeof Scalar>>[] {
  return Object.entries(matrix).reduce<Record<string, z.infer<typeof Scalar>>[]>(
    (rows, [name, values]) =>
      rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))),
    [{}],
  );
}
