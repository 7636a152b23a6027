/** GitHub's REST API for workflow runs, their jobs, and checks. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { authorizeRepository } from './caller.ts';
import { runConclusion, runStatus } from './job-lifecycle.ts';
import type { CheckRun, Job, Repository, Run } from './model.ts';
import type { Access } from './options.ts';
import { onePage } from './paging.ts';
import { repositoryPayload } from './payload-account.ts';
import { checkRunPayload, jobPayload, runPayload } from './payload-actions.ts';
import { invalidBody, notFound, Refusal, unprocessable } from './refusal.ts';
import type { Simulation } from './simulation.ts';

const MAX_RERUNS = 50;

const RunId = z.object({ run: z.coerce.number().int() });
const JobId = z.object({ job: z.coerce.number().int() });
const RunFilter = z.object({ status: z.string().optional(), branch: z.string().optional() });
const JobFilter = z.object({ filter: z.enum(['latest', 'all']).catch('latest') });
const Ref = z.object({ ref: z.string() });
const CheckFilter = z.object({ check_name: z.string().optional() });
const NewCheck = z.object({
  name: z.string().min(1),
  head_sha: z.string().regex(/^[0-9a-f]{40}$/),
  status: z.enum(['queued', 'in_progress', 'completed']).optional(),
  conclusion: z
    .enum(['action_required', 'cancelled', 'failure', 'neutral', 'success', 'skipped', 'timed_out'])
    .optional(),
  details_url: z.url().optional(),
  external_id: z.string().optional(),
  output: z
    .object({ title: z.string(), summary: z.string().max(65_535), text: z.string().optional() })
    .optional(),
});

export function serveActions(server: FastifyInstance, simulation: Simulation): void {
  server.get('/repos/:owner/:repo', async (request) => {
    const repository = authorize(simulation, request, 'metadata', 'read');
    const more = { has_discussions: false, network_count: 0, subscribers_count: 0 };
    return { ...repositoryPayload(simulation.world, repository), ...more };
  });
  serveRuns(server, simulation);
  serveJobs(server, simulation);
  serveRunChanges(server, simulation);
  serveChecks(server, simulation);
}

function serveChecks(server: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;
  server.get('/repos/:owner/:repo/commits/:ref/check-runs', async (request, reply) => {
    const repository = authorize(simulation, request, 'checks', 'read');
    const { ref } = Ref.parse(request.params);
    const { check_name: name } = CheckFilter.parse(request.query);
    const all = world.checkRuns.filter(
      (check) =>
        check.repository === repository &&
        check.headSha === ref &&
        check.name === (name ?? check.name),
    );
    const page = onePage(all, { request, reply, base: world.url });
    return { total_count: all.length, check_runs: page.map((one) => checkRunPayload(world, one)) };
  });
  server.post('/repos/:owner/:repo/check-runs', async (request, reply) => {
    const repository = authorize(simulation, request, 'checks', 'write');
    const check = createCheck(simulation, repository, request.body);
    return reply.code(201).send(checkRunPayload(world, check));
  });
}

function serveRuns(server: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;
  server.get('/repos/:owner/:repo/actions/runs', async (request, reply) => {
    const repository = authorize(simulation, request, 'actions', 'read');
    const { status, branch } = RunFilter.parse(request.query);
    const all = [...world.runs.values()]
      .filter((run) => run.repository === repository)
      .filter((run) => branch === undefined || run.branch === branch)
      .filter(
        (run) =>
          status === undefined || [runStatus(run), runConclusion(run)].includes(narrow(status)),
      )
      .reverse();
    const page = onePage(all, { request, reply, base: world.url });
    return { total_count: all.length, workflow_runs: page.map((run) => runPayload(world, run)) };
  });
  server.get('/repos/:owner/:repo/actions/runs/:run', async (request) => {
    return runPayload(world, findRun(simulation, request, 'read'));
  });
}

/** A status that no run can have matches none. */
function narrow(status: string): ReturnType<typeof runStatus> | ReturnType<typeof runConclusion> {
  const known = ['queued', 'in_progress', 'completed', 'success', 'failure', 'cancelled'] as const;
  return known.find((one) => one === status) ?? 'skipped';
}

function serveJobs(server: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;
  server.get('/repos/:owner/:repo/actions/runs/:run/jobs', async (request, reply) => {
    const run = findRun(simulation, request, 'read');
    const { filter } = JobFilter.parse(request.query);
    const all = run.jobs.filter((job) => filter === 'all' || job.attempt === run.attempt);
    const page = onePage(all, { request, reply, base: world.url });
    return { total_count: all.length, jobs: page.map((job) => jobPayload(world, job)) };
  });
  server.get('/repos/:owner/:repo/actions/jobs/:job', async (request) => {
    const repository = authorize(simulation, request, 'actions', 'read');
    return jobPayload(world, findJob(simulation, repository, request));
  });
}

function serveRunChanges(server: FastifyInstance, simulation: Simulation): void {
  const { jobs } = simulation;
  server.post('/repos/:owner/:repo/actions/runs/:run/cancel', async (request, reply) => {
    const run = findRun(simulation, request, 'write');
    if (runStatus(run) === 'completed') {
      throw new Refusal({
        status: 409,
        message: 'Cannot cancel a workflow run that is completed.',
      });
    }
    for (const job of run.jobs) jobs.cancel(job);
    return reply.code(202).send({});
  });
  server.post('/repos/:owner/:repo/actions/runs/:run/rerun', async (request, reply) => {
    const run = findRun(simulation, request, 'write');
    refuseRerun(run);
    jobs.rerun(run);
    return reply.code(201).send({});
  });
  server.post('/repos/:owner/:repo/actions/runs/:run/rerun-failed-jobs', async (request, reply) => {
    const run = findRun(simulation, request, 'write');
    refuseRerun(run);
    jobs.rerun(run, ({ conclusion }) => conclusion !== 'success');
    return reply.code(201).send({});
  });
  server.post('/repos/:owner/:repo/actions/jobs/:job/rerun', async (request, reply) => {
    const repository = authorize(simulation, request, 'actions', 'write');
    const { id, attempt, run } = findJob(simulation, repository, request);
    if (attempt !== run.attempt)
      throw new Refusal({ status: 403, message: 'Not the last attempt' });
    refuseRerun(run);
    jobs.rerun(run, (job) => job.id === id);
    return reply.code(201).send({});
  });
}

/** Throws the 403 answer. */
function refuseRerun(run: Run): void {
  if (runStatus(run) !== 'completed')
    throw new Refusal({ status: 403, message: 'This workflow is already running' });
  if (run.attempt > MAX_RERUNS)
    throw new Refusal({ status: 403, message: 'This workflow run was re-run too often.' });
}

function authorize(
  simulation: Simulation,
  request: FastifyRequest,
  name: string,
  access: Access,
): Repository {
  return authorizeRepository(simulation, request, { name, access });
}

function findRun(simulation: Simulation, request: FastifyRequest, access: Access): Run {
  const repository = authorize(simulation, request, 'actions', access);
  const run = simulation.world.run(RunId.parse(request.params).run);
  if (run.repository !== repository) throw notFound();
  return run;
}

function findJob({ world }: Simulation, repository: Repository, request: FastifyRequest): Job {
  const job = world.job(JobId.parse(request.params).job);
  if (job.run.repository !== repository) throw notFound();
  return job;
}

function createCheck({ world }: Simulation, repository: Repository, body: unknown): CheckRun {
  const wanted = NewCheck.safeParse(body);
  if (!wanted.success) throw invalidBody(wanted.error);
  const { name, head_sha: headSha, status, conclusion, output } = wanted.data;
  if (status === 'completed' && conclusion === undefined) {
    throw unprocessable('A completed check run needs a conclusion.');
  }
  const check: CheckRun = {
    id: world.nextId(),
    repository,
    name,
    headSha,
    status: conclusion === undefined ? (status ?? 'queued') : 'completed',
    conclusion: conclusion ?? null,
    output: { title: output?.title ?? null, summary: output?.summary ?? null },
    detailsUrl: wanted.data.details_url ?? null,
    externalId: wanted.data.external_id ?? '',
    createdAtMs: Date.now(),
  };
  world.checkRuns.push(check);
  return check;
}
