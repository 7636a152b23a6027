/**
 * The REST API: the route table served by fastify on a unix socket (0600), and on TCP where that is
 * configured. A bearer token is wanted on both; the health paths alone need none. Every error is
 * problem+json (RFC 9457).
 */
import { chmod, mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Logger } from 'pino';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { RateLimit } from '../agents/rate-limit.ts';
import { whyNotListening } from '../listen-trouble.ts';
import type { Address } from '../settings/settings.ts';
import { isAuthorized } from './api-token.ts';
import { answerHealth } from './health.ts';
import { describeApi } from './openapi.ts';
import type { ApiPorts } from './ports.ts';
import type { Outcome, Route } from './route.ts';
import { API_PREFIX, ROUTES } from './routes.ts';
import type { Problem } from './views.ts';

const MAX_BODY_BYTES = 16 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const PROBE_TIMEOUT_MS = 1_000;
const LIMITS = { burst: 200, perMinute: 1_200, maxCallers: 10_000 };

export class ApiError extends ArchitectError {
  readonly code = 'API';
  readonly retry = 'never';
}

export interface ApiOptions {
  readonly socketPath: string;
  readonly listen: Address | undefined;
  readonly token: string;
  readonly ports: ApiPorts;
  readonly now: () => number;
  readonly logger: Logger;
}

export interface ApiServer {
  close(): Promise<void>;
}

/** Resolves when every listener is open; on failure none stays open. */
export async function startApi(options: ApiOptions): Promise<ApiServer> {
  await clearStaleSocket(options.socketPath);
  const servers = [buildServer(options)];
  if (options.listen !== undefined) servers.push(buildServer(options));
  const close = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.close()));
    await rm(options.socketPath, { force: true });
  };
  try {
    await listenOnSocket(servers[0], options.socketPath);
    if (options.listen !== undefined) await servers[1]?.listen({ ...options.listen });
  } catch (cause) {
    await close();
    throw new ApiError(
      `Cannot open the API: ${whyNotListening(cause)}. Check api.listen and the data folder.`,
      {
        cause,
      },
    );
  }
  return { close };
}

function buildServer(options: ApiOptions): FastifyInstance {
  const server = fastify({
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
  });
  const limit = new RateLimit(LIMITS);
  server.addHook('onRequest', async (request, reply) => {
    await guard({ options, limit, request, reply });
  });
  for (const route of ROUTES) addRoute(server, route, options);
  server.get(`${API_PREFIX}/openapi.json`, () => describeApi(options.ports.version));
  for (const path of ['/healthz', '/readyz']) {
    server.get(path, async (_, reply) => {
      const health = await answerHealth(path, options.ports.readiness);
      return await reply.code(health?.status ?? 503).send(health?.body);
    });
  }
  server.setNotFoundHandler(async (request, reply) =>
    problem(reply, 404, `There is no ${request.method} ${request.url.split('?')[0]}.`),
  );
  server.setErrorHandler(async (error, request, reply) => {
    const status = statusOf(error);
    if (status === undefined) options.logger.error({ err: error, path: request.url }, 'API failed');
    const known = status !== undefined && error instanceof Error;
    const why = known ? error.message : "The control plane's log says what went wrong.";
    return problem(reply, status ?? 500, why);
  });
  return server;
}

async function guard(call: {
  readonly options: ApiOptions;
  readonly limit: RateLimit;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}): Promise<void> {
  const { options, limit, request, reply } = call;
  if (request.url === '/healthz' || request.url === '/readyz') return;
  if (!limit.take(request.ip ?? 'socket', options.now())) {
    await problem(reply, 429, 'Too many requests; wait a second.');
  } else if (!isAuthorized(request.headers.authorization, options.token)) {
    reply.header('www-authenticate', 'Bearer');
    await problem(reply, 401, "The bearer token of this control plane's api-token file is needed.");
  }
}

function addRoute(server: FastifyInstance, route: Route, { ports }: ApiOptions): void {
  server.route({
    method: route.method,
    url: API_PREFIX + route.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    handler: async (request, reply) => {
      const { params, query, body } = request;
      return await answer(reply, await route.run({ params, query, body }, ports));
    },
  });
}

async function answer(reply: FastifyReply, outcome: Outcome): Promise<FastifyReply> {
  switch (outcome.kind) {
    case 'ok':
      return await reply.code(outcome.status).send(outcome.body);
    case 'absent':
      return problem(reply, 404, outcome.what);
    case 'conflict':
      return problem(reply, 409, outcome.why);
    case 'malformed':
      return problem(reply, 400, outcome.why);
  }
}

function problem(reply: FastifyReply, status: number, detail: string): FastifyReply {
  const title = TITLES[status] ?? 'Error';
  const body: Problem = { type: 'about:blank', title, status, detail };
  return reply.code(status).type('application/problem+json').send(JSON.stringify(body));
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  404: 'Not Found',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
};

/** The status of a client's mistake as fastify found it; undefined for a fault of ours. */
function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined;
  const { statusCode } = error;
  return typeof statusCode === 'number' && statusCode < 500 ? statusCode : undefined;
}

async function listenOnSocket(server: FastifyInstance | undefined, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await server?.listen({ path });
  await chmod(path, 0o600);
}

/** Removes the socket that a crashed process left; refuses while somebody answers on it. */
async function clearStaleSocket(path: string): Promise<void> {
  if (await isAnswered(path)) {
    throw new ApiError(`Another control plane serves ${path}. Stop it, or set ARCHITECT_FLEET.`);
  }
  await rm(path, { force: true });
}

async function isAnswered(path: string): Promise<boolean> {
  const settled = Promise.withResolvers<boolean>();
  const socket = connect({ path, timeout: PROBE_TIMEOUT_MS });
  socket.once('connect', () => settled.resolve(true));
  socket.once('timeout', () => settled.resolve(true));
  socket.once('error', () => settled.resolve(false));
  try {
    return await settled.promise;
  } finally {
    socket.destroy();
  }
}
