/** Who calls, from the Authorization header: the App, an installation, or a runner. */
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { claimedApp, refuseAppToken } from './app-auth.ts';
import type { RegisteredApp, Repository, Runner } from './model.ts';
import type { Access } from './options.ts';
import { badCredentials, notAccessible, notFound } from './refusal.ts';
import type { Simulation } from './simulation.ts';
import { type AccessToken, requirePermission } from './tokens.ts';

const Place = z.object({ owner: z.string(), repo: z.string() });

export function bearer(request: FastifyRequest): string {
  const [scheme = '', token = ''] = (request.headers.authorization ?? '').split(' ');
  if (!/^(bearer|token)$/i.test(scheme) || token === '')
    throw badCredentials('Requires authentication');
  return token;
}

/** The App that calls itself; throws the 401 answer unless one does. */
export function requireApp({ world }: Simulation, request: FastifyRequest): RegisteredApp {
  const nowMs = Date.now() + world.options.clockAheadMs;
  const token = bearer(request);
  const app = world.apps.find(({ id }) => id === claimedApp(token)) ?? world.app;
  const why = refuseAppToken(token, { appId: app.id, publicKey: app.publicKey }, nowMs);
  if (why !== undefined) throw badCredentials(why);
  return app;
}

/** Throws the 401 or 403 answer unless an installation calls. */
export function requireToken({ tokens }: Simulation, request: FastifyRequest): AccessToken {
  return tokens.check(bearer(request));
}

/** The repository of the path. Throws the answer unless an installation calls that may do that there. */
export function authorizeRepository(
  simulation: Simulation,
  request: FastifyRequest,
  { name, access }: { readonly name: string; readonly access: Access },
): Repository {
  const token = requireToken(simulation, request);
  const { owner, repo } = Place.parse(request.params);
  const repository = simulation.world.repository(owner, repo);
  if (repository.owner.id !== token.installation.account.id) throw notFound();
  if (token.repositories !== undefined && !token.repositories.includes(repository))
    throw notAccessible();
  requirePermission(token, name, access);
  return repository;
}

/** Throws the 401 answer unless a registered runner calls. */
export function requireRunner({ runners }: Simulation, request: FastifyRequest): Runner {
  const runner = runners.ofToken(bearer(request));
  if (runner === undefined) throw badCredentials('The runner registration has been deleted.');
  return runner;
}
