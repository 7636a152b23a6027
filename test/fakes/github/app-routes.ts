/** The App's own part of the REST API: itself, its installations, its webhook deliveries. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { requireApp, requireToken } from './caller.ts';
import type { Installation, Repository } from './model.ts';
import { onePage } from './paging.ts';
import { appPayload, installationPayload, instant, repositoryPayload } from './payload-account.ts';
import { notFound, unprocessable } from './refusal.ts';
import type { Simulation } from './simulation.ts';
import { suspended } from './tokens.ts';
import type { Delivery } from './webhooks.ts';

const Id = z.object({ id: z.coerce.number().int() });
const TokenRequest = z
  .object({
    permissions: z.record(z.string(), z.enum(['read', 'write'])).optional(),
    repositories: z.array(z.string()).max(500).optional(),
    repository_ids: z.array(z.int()).max(500).optional(),
  })
  .nullish();
const Cursor = z.object({
  cursor: z.coerce.number().int().optional(),
  per_page: z.coerce.number().int().min(1).max(100).catch(30),
  status: z.enum(['success', 'failure']).optional(),
});

export function serveApp(server: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;
  server.get('/app', async (request) => {
    return appPayload(world, requireApp(simulation, request));
  });
  server.get('/app/installations', async (request, reply) => {
    const app = requireApp(simulation, request);
    const all = world.installationsOfApp(app).map((one) => installationPayload(world, one));
    return onePage(all, { request, reply, base: world.url });
  });
  server.get('/app/installations/:id', async (request) => {
    return installationPayload(world, findInstallation(simulation, request));
  });
  server.post('/app/installations/:id/access_tokens', async (request, reply) => {
    return reply.code(201).send(createToken(simulation, request));
  });
  server.get('/installation/repositories', async (request, reply) => {
    const { installation, repositories } = requireToken(simulation, request);
    const all = repositories ?? world.repositoriesOf(installation.account);
    const payloads = all.map((one) => repositoryPayload(world, one));
    const page = onePage(payloads, { request, reply, base: world.url });
    return { total_count: all.length, repository_selection: 'all', repositories: page };
  });
  serveInstallationLookups(server, simulation);
  serveDeliveries(server, simulation);
}

function serveInstallationLookups(server: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;
  const Owner = z.object({ owner: z.string() });
  for (const path of ['/orgs/:owner/installation', '/repos/:owner/:repo/installation']) {
    server.get(path, async (request) => {
      const app = requireApp(simulation, request);
      const account = world.account(Owner.parse(request.params).owner);
      const installation = world
        .installationsOf(account)
        .find((one) => world.appOf(one).id === app.id);
      if (installation === undefined) throw notFound();
      return installationPayload(world, installation);
    });
  }
}

/** Throws the 401 answer, or 404 for what is none of the calling App's. */
function findInstallation(simulation: Simulation, request: FastifyRequest): Installation {
  const { world } = simulation;
  const app = requireApp(simulation, request);
  const installation = world.installations.get(Id.parse(request.params).id);
  if (installation === undefined || world.appOf(installation).id !== app.id) throw notFound();
  return installation;
}

function createToken(simulation: Simulation, request: FastifyRequest) {
  const { world, tokens } = simulation;
  const installation = findInstallation(simulation, request);
  if (installation.suspendedAtMs !== undefined) throw suspended();
  const wanted = TokenRequest.safeParse(request.body);
  if (!wanted.success) throw unprocessable('The request body is not valid.');
  const { permissions, repositories: names, repository_ids: ids } = wanted.data ?? {};
  const chosen = names !== undefined || ids !== undefined;
  const repositories = world
    .repositoriesOf(installation.account)
    .filter(({ name, id }) => names?.includes(name) || ids?.includes(id));
  if (chosen && repositories.length < (names?.length ?? 0) + (ids?.length ?? 0)) {
    throw unprocessable(
      'There is at least one repository that does not exist or is not accessible.',
    );
  }
  const scope = { permissions, repositories: chosen ? repositories : undefined };
  const token = tokens.create(installation, scope);
  return {
    token: token.token,
    expires_at: instant(token.expiresAtMs),
    permissions: token.permissions,
    repository_selection: chosen ? 'selected' : 'all',
    ...(chosen
      ? { repositories: repositories.map((r: Repository) => repositoryPayload(world, r)) }
      : {}),
  };
}

function serveDeliveries(server: FastifyInstance, simulation: Simulation): void {
  const { world, webhooks } = simulation;
  const find = (request: FastifyRequest): Delivery => {
    const app = requireApp(simulation, request);
    const delivery = webhooks.find(Id.parse(request.params).id);
    if (delivery === undefined || world.appOf(delivery).id !== app.id) throw notFound();
    return delivery;
  };
  server.get('/app/hook/deliveries', async (request, reply) => {
    const app = requireApp(simulation, request);
    const {
      cursor = Number.MAX_SAFE_INTEGER,
      per_page: size,
      status,
    } = Cursor.parse(request.query);
    const older = webhooks
      .list()
      .filter((one) => one.id < cursor && world.appOf(one).id === app.id)
      .filter(
        ({ statusCode }) =>
          status === undefined || isSuccess(statusCode) === (status === 'success'),
      );
    const page = older.slice(0, size);
    const last = page.at(-1);
    if (last !== undefined && older.length > size) {
      const next = new URL(request.url, world.url);
      next.searchParams.set('cursor', String(last.id));
      reply.header('link', `<${next}>; rel="next"`);
    }
    return page.map(deliveryItem);
  });
  server.get('/app/hook/deliveries/:id', async (request) => {
    const delivery = find(request);
    return {
      ...deliveryItem(delivery),
      url: webhooks.url ?? '',
      request: { headers: delivery.headers, payload: JSON.parse(delivery.body) },
      response: { headers: {}, payload: delivery.response },
    };
  });
  server.post('/app/hook/deliveries/:id/attempts', async (request, reply) => {
    webhooks.redeliver(find(request));
    return reply.code(202).send({});
  });
}

function isSuccess(statusCode: number): boolean {
  return statusCode >= 200 && statusCode < 300;
}

function deliveryItem(delivery: Delivery) {
  return {
    id: delivery.id,
    guid: delivery.guid,
    delivered_at: instant(delivery.deliveredAtMs),
    redelivery: delivery.redelivery,
    duration: delivery.durationMs / 1_000,
    status: isSuccess(delivery.statusCode) ? 'OK' : `Invalid HTTP Response: ${delivery.statusCode}`,
    status_code: delivery.statusCode,
    event: delivery.event,
    action: delivery.action,
    installation_id: delivery.installationId,
    repository_id: delivery.repositoryId,
    throttled_at: null,
  };
}
