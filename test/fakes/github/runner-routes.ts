/** GitHub's REST API for self-hosted runners, of enterprises, organizations and repositories. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { bearer, requireToken } from './caller.ts';
import type { Runner, RunnerScope } from './model.ts';
import type { Access, Enterprise } from './options.ts';
import { onePage } from './paging.ts';
import { organizationPayload } from './payload-account.ts';
import { runnerPayload } from './payload-actions.ts';
import { invalidBody, notAccessible, notFound, Refusal } from './refusal.ts';
import { encodeJitConfig } from './runner-protocol.ts';
import type { Simulation } from './simulation.ts';
import { requirePermission } from './tokens.ts';

const DEFAULT_GROUP = 1;
const PAGE = '/actions/self-hosted-runners';

const OfEnterprise = z.object({ enterprise: z.string() });
const READS_AND_WRITES = ['manage_runners:enterprise', 'admin:enterprise'];
const Place = z.object({ owner: z.string(), repo: z.string().optional() });
const RunnerId = z.object({ runner: z.coerce.number().int() });
const Listing = z.object({ name: z.string().optional() });
const Jit = z.object({
  name: z.string().min(1).max(64),
  runner_group_id: z.int(),
  labels: z
    .array(
      z
        .string()
        .max(256)
        .regex(/^[^,]+$/),
    )
    .min(1)
    .max(100),
  work_folder: z.string().min(1).default('_work'),
});

export function serveRunners(server: FastifyInstance, simulation: Simulation): void {
  for (const prefix of ['/enterprises/:enterprise', '/orgs/:owner', '/repos/:owner/:repo']) {
    serveScope(server, simulation, `${prefix}/actions/runners`);
  }
  serveEnterpriseGroups(server, simulation);
  server.get('/orgs/:owner/actions/runner-groups', async (request) => {
    const scope = authorize(simulation, request, 'read');
    if (scope.kind !== 'organization') throw notFound();
    const runners_url = `${simulation.world.url}/orgs/${scope.account.login}/actions/runner-groups/1/runners`;
    const group = { id: DEFAULT_GROUP, name: 'Default', visibility: 'all', default: true };
    const rest = { runners_url, inherited: false, allows_public_repositories: true };
    return { total_count: 1, runner_groups: [{ ...group, ...rest }] };
  });
}

function serveEnterpriseGroups(server: FastifyInstance, simulation: Simulation): void {
  const base = '/enterprises/:enterprise/actions/runner-groups';
  server.get(base, async (request) => {
    const { slug, chosen } = requireEnterprise(simulation, request);
    const url = `${simulation.world.url}/enterprises/${slug}/actions/runner-groups/${DEFAULT_GROUP}`;
    const visibility = chosen === undefined ? 'all' : 'selected';
    const group = { id: DEFAULT_GROUP, name: 'Default', visibility, default: true };
    const rest = { runners_url: `${url}/runners`, allows_public_repositories: false };
    return { total_count: 1, runner_groups: [{ ...group, ...rest }] };
  });
  server.get(`${base}/:group/organizations`, async (request, reply) => {
    const { chosen = [] } = requireEnterprise(simulation, request);
    const { world } = simulation;
    const all = chosen.map((login) => organizationPayload(world, world.account(login)));
    const organizations = onePage(all, { request, reply, base: world.url });
    return { total_count: all.length, organizations };
  });
}

function serveScope(server: FastifyInstance, simulation: Simulation, path: string): void {
  const { world, runners } = simulation;
  const show = (runner: Runner) => runnerPayload(runner, runners.isOnline(runner));
  server.post(`${path}/generate-jitconfig`, async (request, reply) => {
    const scope = authorize(simulation, request, 'write');
    const runner = register(simulation, scope, request.body);
    return reply
      .code(201)
      .send({ runner: show(runner), encoded_jit_config: jitConfig(simulation, runner) });
  });
  server.get(path, async (request, reply) => {
    const scope = authorize(simulation, request, 'read');
    const { name } = Listing.parse(request.query);
    const all = world.runnersIn(scope).filter((one) => name === undefined || one.name === name);
    const page = onePage(all, { request, reply, base: world.url });
    return { total_count: all.length, runners: page.map(show) };
  });
  server.get(`${path}/:runner`, async (request) => {
    const scope = authorize(simulation, request, 'read');
    return show(findRunner(simulation, scope, request));
  });
  server.delete(`${path}/:runner`, async (request, reply) => {
    const scope = authorize(simulation, request, 'write');
    const runner = findRunner(simulation, scope, request);
    if (runner.job !== undefined) throw busy(runner);
    runners.remove(runner);
    return reply.code(204).send();
  });
}

/** Throws the 404 answer for what the caller does not see, 403 for what it may not do. */
function authorize(simulation: Simulation, request: FastifyRequest, access: Access): RunnerScope {
  if (OfEnterprise.safeParse(request.params).success) {
    return { kind: 'enterprise', enterprise: requireEnterprise(simulation, request) };
  }
  const { world } = simulation;
  const token = requireToken(simulation, request);
  const { owner, repo } = Place.parse(request.params);
  const account = world.account(owner);
  if (account.id !== token.installation.account.id) throw notFound();
  if (repo !== undefined) {
    const repository = world.repository(owner, repo);
    requirePermission(token, 'administration', access);
    return { kind: 'repository', repository };
  }
  if (account.type !== 'Organization') throw notFound();
  requirePermission(token, 'organization_self_hosted_runners', access);
  return { kind: 'organization', account };
}

/** No App and none of its tokens is let in. */
function requireEnterprise(simulation: Simulation, request: FastifyRequest): Enterprise {
  const { enterprise } = simulation.world.options;
  if (bearer(request) !== enterprise?.token) {
    requireToken(simulation, request);
    throw notAccessible();
  }
  if (OfEnterprise.parse(request.params).enterprise !== enterprise.slug) throw notFound();
  if (enterprise.scopes.some((scope) => READS_AND_WRITES.includes(scope))) return enterprise;
  throw new Refusal({ status: 403, message: 'Must have the scope manage_runners:enterprise.' });
}

function register({ world, limits }: Simulation, scope: RunnerScope, body: unknown): Runner {
  limits.countRegistration(Date.now());
  const wanted = Jit.safeParse(body);
  if (!wanted.success) throw invalidBody(wanted.error);
  const { name, labels, runner_group_id: groupId, work_folder: workFolder } = wanted.data;
  if (groupId !== DEFAULT_GROUP) throw notFound();
  if (world.runnersIn(scope).some((one) => one.name.toLowerCase() === name.toLowerCase())) {
    const message = `Already exists - A runner with the name ${name} already exists.`;
    throw new Refusal({ status: 409, message, page: PAGE });
  }
  return world.addRunner(scope, { name, labels, groupId, workFolder });
}

function jitConfig({ world }: Simulation, { id, name, workFolder, token }: Runner): string {
  return encodeJitConfig({ serverUrl: world.url, agentId: id, agentName: name, workFolder, token });
}

function findRunner({ world }: Simulation, scope: RunnerScope, request: FastifyRequest): Runner {
  const { runner: id } = RunnerId.parse(request.params);
  const runner = world.runnersIn(scope).find((one) => one.id === id);
  if (runner === undefined) throw notFound();
  return runner;
}

function busy({ name }: Runner): Refusal {
  const message = `Bad request - Runner "${name}" is still running a job"`;
  return new Refusal({ status: 422, message, page: PAGE });
}
