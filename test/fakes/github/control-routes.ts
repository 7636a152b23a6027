/**
 * The control API for tests and the demo, under /_sim; `Authorization: Bearer <control token>`.
 *
 *   POST   /_sim/accounts {login, type}                   POST /_sim/repositories {owner, name}
 *   POST   /_sim/installations {login, permissions?, appId?}  PATCH, DELETE /_sim/installations/I
 *   POST   /_sim/repos/O/R/push {workflow, branch?}       201 run
 *   PUT    /_sim/repos/O/R/files {path, text}             204; of the default branch
 *   GET    /_sim/runs, /_sim/runs/R, /_sim/jobs, /_sim/jobs/J, /_sim/runners, /_sim/checks
 *   GET    /_sim/jobs/J/log?follow=true                   text, from the beginning to the job's end
 *   GET    /_sim/jobs/J/summary                           its steps' summaries, as its page shows them
 *   POST   /_sim/jobs/J/cancel, /_sim/runs/R/rerun        202
 *   PUT    /_sim/webhook {url}                            GET /_sim/deliveries
 *   PUT    /_sim/faults/deliveries DeliveryFaults         POST, DELETE /_sim/faults/api ApiFault
 *   POST   /_sim/faults/tokens                            every access token is good no more
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { bearer } from './caller.ts';
import { jobView, runnerView, runView } from './control-views.ts';
import { badCredentials, notFound, Refusal } from './refusal.ts';
import type { Simulation } from './simulation.ts';
import { DeliveryFaults } from './webhooks.ts';
import { WorkflowError } from './workflow.ts';

const Login = z.string().regex(/^[A-Za-z0-9-]{1,39}$/);
const Permissions = z.record(z.string(), z.enum(['read', 'write']));
const NewAccount = z.strictObject({ login: Login, type: z.enum(['Organization', 'User']) });
const NewRepository = z.strictObject({ owner: Login, name: z.string().regex(/^[\w.-]{1,100}$/) });
const NewInstallation = z.strictObject({
  login: Login,
  permissions: Permissions.optional(),
  appId: z.int().optional(),
});
const InstallationChange = z.strictObject({
  suspended: z.boolean().optional(),
  permissions: Permissions.optional(),
});
const Push = z.strictObject({ workflow: z.string().min(1), branch: z.string().default('main') });
const NewFile = z.strictObject({ path: z.string().min(1), text: z.string() });
const Place = z.object({ owner: z.string(), repo: z.string() });
const Id = z.object({ id: z.coerce.number().int() });
const Follow = z.object({ follow: z.enum(['true', 'false']).default('false') });
const Webhook = z.strictObject({ url: z.url().nullable() });
const NewApiFault = z.strictObject({
  /** A regular expression for the path. */
  path: z.string().min(1),
  method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).optional(),
  status: z.int().min(400).max(599),
  count: z.int().min(1).max(100_000),
  headers: z.record(z.string(), z.string()).default({}),
});

export function serveControl(server: FastifyInstance, simulation: Simulation): void {
  server.addHook('onRequest', async (request) => {
    if (bearer(request) !== simulation.world.options.controlToken) throw badCredentials();
  });
  serveSetting(server, simulation);
  serveWork(server, simulation);
  serveJobs(server, simulation);
  serveFaults(server, simulation);
}

function serveSetting(server: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;
  const installation = (request: FastifyRequest) => {
    const found = world.installations.get(Id.parse(request.params).id);
    if (found === undefined) throw notFound();
    return found;
  };
  server.post('/_sim/accounts', async (request, reply) => {
    const { login, type } = NewAccount.parse(request.body);
    return reply.code(201).send(world.addAccount(login, type));
  });
  server.post('/_sim/repositories', async (request, reply) => {
    const { owner, name } = NewRepository.parse(request.body);
    return reply.code(201).send(world.addRepository(world.account(owner), name));
  });
  server.post('/_sim/installations', async (request, reply) => {
    const wanted = NewInstallation.parse(request.body);
    const { login, permissions = world.options.permissions, appId } = wanted;
    const added = world.addInstallation(world.account(login), permissions, appId);
    simulation.announceInstallation(added, 'created');
    return reply.code(201).send(added);
  });
  server.patch('/_sim/installations/:id', async (request) => {
    const { suspended, permissions } = InstallationChange.parse(request.body);
    const changed = installation(request);
    if (suspended !== undefined) {
      changed.suspendedAtMs = suspended ? Date.now() : undefined;
      simulation.announceInstallation(changed, suspended ? 'suspend' : 'unsuspend');
    }
    if (permissions !== undefined) changed.permissions = permissions;
    return changed;
  });
  server.delete('/_sim/installations/:id', async (request, reply) => {
    const removed = installation(request);
    world.installations.delete(removed.id);
    simulation.announceInstallation(removed, 'deleted');
    return reply.code(204).send();
  });
}

function serveWork(server: FastifyInstance, simulation: Simulation): void {
  const { world, runners } = simulation;
  server.post('/_sim/repos/:owner/:repo/push', async (request, reply) => {
    const { owner, repo } = Place.parse(request.params);
    const { workflow, branch } = Push.parse(request.body);
    try {
      const run = simulation.push(world.repository(owner, repo), workflow, branch);
      return reply.code(201).send(runView(run));
    } catch (error) {
      if (!(error instanceof WorkflowError)) throw error;
      throw new Refusal({ status: 422, message: error.message });
    }
  });
  server.put('/_sim/repos/:owner/:repo/files', async (request, reply) => {
    const { owner, repo } = Place.parse(request.params);
    const { path, text } = NewFile.parse(request.body);
    const repository = world.repository(owner, repo);
    repository.files = new Map(repository.files).set(path, text);
    return reply.code(204).send();
  });
  server.get('/_sim/runs', async () => ({ runs: [...world.runs.values()].map(runView) }));
  server.get('/_sim/runs/:id', async (request) => runView(world.run(Id.parse(request.params).id)));
  server.post('/_sim/runs/:id/rerun', async (request, reply) => {
    simulation.jobs.rerun(world.run(Id.parse(request.params).id));
    return reply.code(202).send({});
  });
  server.get('/_sim/runners', async () => {
    const all = [...world.runners.values()];
    return { runners: all.map((runner) => runnerView(runner, runners.isOnline(runner))) };
  });
  server.get('/_sim/checks', async () => ({
    checks: world.checkRuns.map(({ repository, ...check }) => ({
      ...check,
      repository: `${repository.owner.login}/${repository.name}`,
    })),
  }));
}

function serveJobs(server: FastifyInstance, { world, jobs }: Simulation): void {
  const find = (request: FastifyRequest) => world.job(Id.parse(request.params).id);
  server.get('/_sim/jobs', async () => ({ jobs: [...world.jobs.values()].map(jobView) }));
  server.get('/_sim/jobs/:id', async (request) => jobView(find(request)));
  server.get('/_sim/jobs/:id/log', async (request, reply) => {
    const { log } = find(request);
    reply.type('text/plain; charset=utf-8');
    return reply.send(Follow.parse(request.query).follow === 'true' ? log.follow() : log.text());
  });
  server.get('/_sim/jobs/:id/summary', async (request, reply) => {
    const steps = [...find(request).summaries].sort(([one], [other]) => one - other);
    reply.type('text/markdown; charset=utf-8');
    return reply.send(steps.map(([, summary]) => summary).join('\n'));
  });
  server.post('/_sim/jobs/:id/cancel', async (request, reply) => {
    jobs.cancel(find(request));
    return reply.code(202).send({});
  });
}

function serveFaults(server: FastifyInstance, simulation: Simulation): void {
  const { webhooks, apiFaults, tokens } = simulation;
  server.post('/_sim/faults/tokens', async (_request, reply) => {
    tokens.expireAll();
    return reply.code(204).send();
  });
  server.put('/_sim/webhook', async (request) => {
    webhooks.url = Webhook.parse(request.body).url ?? undefined;
    return {};
  });
  server.get('/_sim/deliveries', async () => ({
    deliveries: webhooks.list().map(({ body, headers, ...rest }) => ({
      ...rest,
      headers,
      payload: JSON.parse(body),
    })),
  }));
  server.put('/_sim/faults/deliveries', async (request) => {
    webhooks.setFaults(DeliveryFaults.parse(request.body));
    return webhooks.faults;
  });
  server.post('/_sim/faults/api', async (request, reply) => {
    const { path, method, ...fault } = NewApiFault.parse(request.body);
    apiFaults.push({ ...fault, method, path: new RegExp(path) });
    return reply.code(201).send({});
  });
  server.delete('/_sim/faults/api', async (_request, reply) => {
    apiFaults.length = 0;
    return reply.code(204).send();
  });
}
