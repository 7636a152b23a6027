/** GitHub's REST API for self-hosted runners, of organizations and of repositories. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { requireToken } from './caller.ts';
import type { Runner, RunnerScope } from './model.ts';
import type { Access } from './options.ts';
import { onePage } from './paging.ts';
import { runnerPayload } from './payload-actions.ts';
import { invalidBody, notFound, Refusal } from './refusal.ts';
import { encodeJitConfig } from './runner-protocol.ts';
import type { Simulation } from './simulation.ts';
import { type AccessToken, requirePermission } from './tokens.ts';

const DEFAULT_GROUP = 1;
const PAGE = '/actions/self-hosted-runners';

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
  for (const prefix of ['/orgs/:owner', '/repos/:owner/:repo']) {
    serveScope(server, simulation, `${prefix}/actions/runners`);
  }
  server.get('/orgs/:owner/actions/runner-groups', async (request) => {
    const { scope } = authorize(simulation, request, 'read');
    if (scope.kind !== 'organization') throw notFound();
    const runners_url = `${simulation.world.url}/orgs/${scope.account.login}/actions/runner-groups/1/runners`;
    const group = { id: DEFAULT_GROUP, name: 'Default', visibility: 'all', default: true };
    const rest = { runners_url, inherited: false, allows_public_repositories: true };
    return { total_count: 1, runner_groups: [{ ...group, ...rest }] };
  });
}

function serveScope(server: FastifyInstance, simulation: Simulation, path: string): void {
  const { world, runners } = simulation;
  const show = (runner: Runner) => runnerPayload(runner, runners.isOnline(runner));
  server.post(`${path}/generate-jitconfig`, async (request, reply) => {
    const { scope } = authorize(simulation, request, 'write');
    const runner = register(simulation, scope, request.body);
    return reply
      .code(201)
      .send({ runner: show(runner), encoded_jit_config: jitConfig(simulation, runner) });
  });
  server.get(path, async (request, reply) => {
    const { scope } = authorize(simulation, request, 'read');
    const { name } = Listing.parse(request.query);
    const all = world.runnersIn(scope).filter((one) => name === undefined || one.name === name);
    const page = onePage(all, { request, reply, base: world.url });
    return { total_count: all.length, runners: page.map(show) };
  });
  server.get(`${path}/:runner`, async (request) => {
    const { scope } = authorize(simulation, request, 'read');
    return show(findRunner(simulation, scope, request));
  });
  server.delete(`${path}/:runner`, async (request, reply) => {
    const { scope } = authorize(simulation, request, 'write');
    const runner = findRunner(simulation, scope, request);
    if (runner.job !== undefined) throw busy(runner);
    runners.remove(runner);
    return reply.code(204).send();
  });
}

interface Authorized {
  readonly scope: RunnerScope;
  readonly token: AccessToken;
}

/** Throws the 404 answer for what the installation does not see, 403 for what it may not do. */
function authorize(simulation: Simulation, request: FastifyRequest, access: Access): Authorized {
  const { world } = simulation;
  const token = requireToken(simulation, request);
  const { owner, repo } = Place.parse(request.params);
  const account = world.account(owner);
  if (account.id !== token.installation.account.id) throw notFound();
  if (repo !== undefined) {
    const repository = world.repository(owner, repo);
    requirePermission(token, 'administration', access);
    return { token, scope: { kind: 'repository', repository } };
  }
  if (account.type !== 'Organization') throw notFound();
  requirePermission(token, 'organization_self_hosted_runners', access);
  return { token, scope: { kind: 'organization', account } };
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
