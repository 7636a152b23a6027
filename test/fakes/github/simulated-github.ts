/**
 * A stateful, strict GitHub for tests and the demo, on one port: the REST API at its root, the
 * runners' side under /_runner, the control API under /_sim.
 */
import type { Readable } from 'node:stream';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { serveActions } from './actions-routes.ts';
import { claimedApp } from './app-auth.ts';
import { serveApp } from './app-routes.ts';
import { serveContents } from './content-routes.ts';
import { serveControl } from './control-routes.ts';
import { answerUnchanged } from './etag.ts';
import { serveHookConfig } from './hook-routes.ts';
import { type Codes, serveConversions, serveRegistration } from './manifest-routes.ts';
import { type GivenOptions, withDefaults } from './options.ts';
import { invalidBody, notFound, Refusal } from './refusal.ts';
import { serveRunners } from './runner-routes.ts';
import { serveSessions } from './session-routes.ts';
import { Simulation } from './simulation.ts';
import { serveWorkflows } from './workflow-routes.ts';

const MAX_BODY_BYTES = 25 * 1024 * 1024;
const SWEEP_MS = 200;
const ANONYMOUS = 'anonymous';
const TOKEN_HOLDER = 'the holder of a token';

export interface SimulatedGitHub {
  readonly url: string;
  readonly simulation: Simulation;
  /** Resets the connections on which runners send their logs. */
  breakLogUploads(): void;
  /** Ends every connection, long polls and followed logs included. */
  close(): Promise<void>;
}

/** Starts with organization `acme`, repository `acme/widgets` and installation 1. */
export async function startSimulatedGitHub(given: GivenOptions): Promise<SimulatedGitHub> {
  const simulation = new Simulation(withDefaults(given));
  const { host, port } = simulation.world.options;
  const server = fastify({ bodyLimit: MAX_BODY_BYTES, forceCloseConnections: true });
  answerErrors(server);
  const codes: Codes = new Map();
  await server.register(async (scope) => serveRegistration(scope, simulation, codes));
  const rest = async (scope: FastifyInstance) => {
    serveRest(scope, simulation);
    serveConversions(scope, simulation, codes);
  };
  await server.register(rest, { prefix: simulation.world.options.restPath });
  const uploads = new Set<Readable>();
  await server.register(async (scope) => serveSessions(scope, simulation, uploads));
  await server.register(async (scope) => serveControl(scope, simulation));
  const url = await server.listen({ host, port });
  simulation.world.url = url;
  const sweeping = setInterval(() => simulation.sweeper.sweep(Date.now()), SWEEP_MS);
  const close = async () => {
    clearInterval(sweeping);
    simulation.webhooks.close();
    for (const runner of simulation.world.runners.values()) runner.session?.wake?.();
    await server.close();
  };
  const breakLogUploads = () => {
    for (const upload of uploads) upload.destroy();
  };
  return { url, simulation, breakLogUploads, close };
}

function serveRest(server: FastifyInstance, simulation: Simulation): void {
  server.addHook('onRequest', async (request, reply) => {
    if (simulation.unreachable) return cut(simulation, request, reply);
    const write = request.method !== 'GET';
    refuseNameless(request);
    reply.header('date', tellTime(simulation));
    const who = callerName(simulation, request);
    const payer = payerOf(simulation, request);
    const headers = simulation.limits.count({ who, payer, write }, Date.now());
    reply.headers(scopesOf(simulation, request));
    reply.headers({ ...headers, 'x-github-media-type': 'github.v3; format=json' });
    throwFault(simulation, request);
    return undefined;
  });
  server.addHook('onSend', async (request, reply, payload) => {
    if (!answerUnchanged(request, reply, payload)) return payload;
    reply.headers(simulation.limits.refund(callerName(simulation, request)));
    return '';
  });
  serveApp(server, simulation);
  serveHookConfig(server, simulation);
  serveContents(server, simulation);
  serveRunners(server, simulation);
  serveActions(server, simulation);
  serveWorkflows(server, simulation);
}

/** A classic token's scopes are told with each answer. */
function scopesOf({ world }: Simulation, request: FastifyRequest): Record<string, string> {
  const { enterprise } = world.options;
  return enterprise !== undefined && tokenOf(request) === enterprise.token
    ? { 'x-oauth-scopes': enterprise.scopes.join(', ') }
    : {};
}

function tokenOf({ headers }: FastifyRequest): string {
  return headers.authorization?.split(' ')[1] ?? ANONYMOUS;
}

function cut(simulation: Simulation, { raw }: FastifyRequest, reply: FastifyReply): FastifyReply {
  simulation.cut += 1;
  reply.hijack();
  raw.socket.destroy();
  return reply;
}

function tellTime({ world }: Simulation): string {
  return new Date(Date.now() + world.options.clockAheadMs).toUTCString();
}

/** Tokens differ from hour to hour, but those of one App or one installation share its limit. */
function callerName({ tokens, world }: Simulation, request: FastifyRequest): string {
  const token = tokenOf(request);
  if (token === world.options.enterprise?.token) return TOKEN_HOLDER;
  if (token.includes('.')) return `App ${claimedApp(token)}`;
  const installationId = tokens.installationOf(token);
  return installationId === undefined ? token : `installation ${installationId}`;
}

/** Whose points of the minute a request costs. */
function payerOf(simulation: Simulation, request: FastifyRequest): string {
  const { tokens, world } = simulation;
  const installation = world.installations.get(tokens.installationOf(tokenOf(request)) ?? 0);
  return installation === undefined
    ? callerName(simulation, request)
    : `App ${world.appOf(installation).id}`;
}

function refuseNameless({ headers }: FastifyRequest): void {
  if (headers['user-agent']) return;
  const message = 'Request forbidden by administrative rules. Please set a User-Agent header.';
  throw new Refusal({ status: 403, message });
}

function throwFault({ apiFaults }: Simulation, { method, url }: FastifyRequest): void {
  const path = url.split('?')[0] ?? url;
  const fault = apiFaults.find(
    (one) => one.count > 0 && (one.method ?? method) === method && one.path.test(path),
  );
  if (fault === undefined) return;
  fault.count -= 1;
  const { status, headers } = fault;
  throw new Refusal({ status, message: 'A fault that the test asked for.', headers });
}

function answerErrors(server: FastifyInstance): void {
  server.setNotFoundHandler(async (_request, reply) => {
    const { status, body } = notFound();
    return reply.code(status).send(body);
  });
  server.setErrorHandler(async (error, request, reply) => {
    const hungUp = request.raw.destroyed && !request.raw.complete;
    const refusal = hungUp ? notFound() : asRefusal(error);
    return reply.code(refusal.status).headers(refusal.headers).send(refusal.body);
  });
}

const WithStatus = z.object({ statusCode: z.int().min(400).max(499), message: z.string() });

function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof z.ZodError) return invalidBody(error);
  const known = WithStatus.safeParse(error);
  if (known.success)
    return new Refusal({ status: known.data.statusCode, message: known.data.message });
  console.error(error);
  return new Refusal({ status: 500, message: 'Server Error' });
}
