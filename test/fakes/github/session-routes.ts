/** The stand-in runner's side (runner-protocol.ts). */
import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { bearer, requireRunner } from './caller.ts';
import type { Job, Runner } from './model.ts';
import { badCredentials, notFound, Refusal } from './refusal.ts';
import {
  CompleteJob,
  MAX_SUMMARY_BYTES,
  OpenSession,
  StepReport,
  StepSummary,
} from './runner-protocol.ts';
import type { Simulation } from './simulation.ts';

const SessionId = z.object({ session: z.string() });
const Seen = z.object({ lastMessageId: z.coerce.number().int().default(0) });
const JobId = z.object({ job: z.coerce.number().int() });
const StepNumber = z.object({ step: z.coerce.number().int().min(1).max(10_000) });
const Offset = z.object({ offset: z.coerce.number().int().min(0) });
const Bytes = z.instanceof(Buffer);
/** Each character may be escaped in JSON. */
const SUMMARY_BODY_BYTES = 6 * MAX_SUMMARY_BYTES + 1024;

/** `uploads` holds the log uploads that are open. */
export function serveSessions(
  server: FastifyInstance,
  simulation: Simulation,
  uploads: Set<Readable>,
): void {
  server.addContentTypeParser('application/octet-stream', (_request, payload, done) => {
    done(null, payload);
  });
  serveSession(server, simulation);
  serveJob(server, simulation);
  serveLog(server, simulation, uploads);
}

function serveSession(server: FastifyInstance, simulation: Simulation): void {
  const { runners, world } = simulation;
  server.post('/_runner/sessions', async (request, reply) => {
    const runner = requireRunner(simulation, request);
    const { agentId, sessionName } = OpenSession.parse(request.body);
    if (agentId !== runner.id) throw badCredentials();
    const session = runners.openSession(runner, sessionName);
    if (session === undefined) throw conflict('A session for this runner already exists.');
    const { lockRenewMs } = world.options.durations;
    return reply.code(201).send({ sessionId: session.id, lockRenewMs });
  });
  server.get('/_runner/sessions/:session/message', async (request, reply) => {
    const { session } = findSession(simulation, request);
    const { lastMessageId } = Seen.parse(request.query);
    const message = await runners.poll(session, lastMessageId, hangUp(reply));
    if (message !== undefined) return message;
    if (runners.ofToken(bearer(request)) === undefined) throw notFound();
    return reply.code(202).send({});
  });
  server.delete('/_runner/sessions/:session', async (request, reply) => {
    runners.closeSession(findSession(simulation, request).runner);
    return reply.code(204).send();
  });
}

function serveJob(server: FastifyInstance, simulation: Simulation): void {
  const { jobs, runners, world } = simulation;
  server.post('/_runner/jobs/:job/acquire', async (request) => {
    const runner = requireRunner(simulation, request);
    const job = world.job(JobId.parse(request.params).job);
    if (runner.job !== job) {
      if (!runners.acquire(runner, job)) throw conflict('The job is not offered to this runner.');
      jobs.start(job, runner);
    }
    return jobDetails(job);
  });
  server.post('/_runner/jobs/:job/renew', async (request) => {
    if (!jobs.renew(findJob(simulation, request))) throw notFound();
    return { lockedForMs: world.options.durations.lockMs };
  });
  server.put('/_runner/jobs/:job/steps/:step', async (request, reply) => {
    const job = findJob(simulation, request);
    if (job.status !== 'in_progress') throw notFound();
    jobs.reportStep(job, StepNumber.parse(request.params).step, StepReport.parse(request.body));
    return reply.code(204).send();
  });
  const bodyLimit = SUMMARY_BODY_BYTES;
  server.put('/_runner/jobs/:job/steps/:step/summary', { bodyLimit }, async (request, reply) => {
    const job = findJob(simulation, request);
    if (job.status !== 'in_progress') throw notFound();
    const { step } = StepNumber.parse(request.params);
    job.summaries.set(step, StepSummary.parse(request.body).summary);
    return reply.code(204).send();
  });
  server.post('/_runner/jobs/:job/complete', async (request, reply) => {
    const job = findJob(simulation, request);
    const { conclusion } = CompleteJob.parse(request.body);
    if (job.status === 'completed' && job.conclusion !== conclusion) throw notFound();
    jobs.complete(job, conclusion);
    return reply.code(204).send();
  });
}

function serveLog(server: FastifyInstance, simulation: Simulation, uploads: Set<Readable>): void {
  server.get('/_runner/jobs/:job/log', async (request) => {
    return { receivedBytes: findJob(simulation, request).log.length };
  });
  server.post<{ Body: Readable }>('/_runner/jobs/:job/log', async (request) => {
    const { log } = findJob(simulation, request);
    let { offset } = Offset.parse(request.query);
    uploads.add(request.body);
    request.body.once('close', () => uploads.delete(request.body));
    for await (const piece of request.body) {
      const bytes = Bytes.parse(piece);
      if (!log.writeAt(offset, bytes)) throw conflict('The log does not go on from this offset.');
      offset += bytes.length;
    }
    return { receivedBytes: log.length };
  });
}

function findSession(simulation: Simulation, request: FastifyRequest) {
  const runner: Runner = requireRunner(simulation, request);
  const { session } = runner;
  if (session?.id !== SessionId.parse(request.params).session) throw notFound();
  return { runner, session };
}

/** Its own job only; also after the job's end, when the runner itself is gone. */
function findJob({ runners, world }: Simulation, request: FastifyRequest): Job {
  const job = world.job(JobId.parse(request.params).job);
  if (runners.jobOfToken(bearer(request)) !== job) throw notFound();
  return job;
}

function jobDetails(job: Job) {
  const { run, plan } = job;
  return {
    jobId: job.id,
    runId: run.id,
    runAttempt: job.attempt,
    key: plan.key,
    name: plan.name,
    workflowName: run.workflowName,
    repository: `${run.repository.owner.login}/${run.repository.name}`,
    sha: run.sha,
    ref: `refs/heads/${run.branch}`,
    actor: run.repository.owner.login,
    env: plan.env,
    steps: plan.steps,
  };
}

function hangUp(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  return gone.signal;
}

function conflict(message: string): Refusal {
  return new Refusal({ status: 409, message });
}
