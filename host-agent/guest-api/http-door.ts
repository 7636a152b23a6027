/**
 * One VM's HTTP server: reads its guest's requests within narrow limits, and writes the answers.
 * Which VM asks is the socket's to say; nothing that a request holds can change it.
 */
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { GuestAnswer, GuestAsk } from '../protocol/guest-api.ts';
import { summariseJob } from './job-summary.ts';
import { parseGuestRequest } from './parse-guest-request.ts';
import { FULL_RATE, takeOne } from './request-rate.ts';

export const MAX_BODY_BYTES = 1_024;
const MAX_HEADER_BYTES = 4_096;
const MAX_CONNECTIONS = 8;
const MAX_REQUESTS_PER_CONNECTION = 100;
const HEADERS_LIMIT_MS = 3_000;
const REQUEST_LIMIT_MS = 5_000;
const IDLE_LIMIT_MS = 15_000;
const LIMITS_LOOK_MS = 1_000;

interface Reply {
  readonly status: number;
  /** Markdown, or what becomes JSON. */
  readonly body: string | object;
  readonly headers?: OutgoingHttpHeaders;
}

/** Not listening yet. `ask` never rejects. */
export function createHttpDoor(
  ask: (ask: GuestAsk) => Promise<GuestAnswer>,
  nowMs: () => number = () => performance.now(),
): Server {
  let rate = FULL_RATE;
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_LIMIT_MS,
      requestTimeout: REQUEST_LIMIT_MS,
      connectionsCheckingInterval: LIMITS_LOOK_MS,
      keepAliveTimeout: REQUEST_LIMIT_MS,
    },
    (request, response) => {
      const next = takeOne(rate, nowMs());
      rate = next ?? rate;
      const reply =
        next === undefined ? tooMany(request) : replyTo(request, ask).catch(() => undefined);
      void Promise.resolve(reply).then((made) => send(response, made));
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
  server.setTimeout(IDLE_LIMIT_MS, (socket) => socket.destroy());
  return server;
}

async function replyTo(
  request: IncomingMessage,
  ask: (ask: GuestAsk) => Promise<GuestAnswer>,
): Promise<Reply> {
  const body = await readBody(request);
  if (body === undefined)
    return { ...wrong(413, `A body has ${MAX_BODY_BYTES} bytes at most.`), ...LAST };
  const parsed = parseGuestRequest({
    method: request.method ?? '',
    target: request.url ?? '',
    contentType: request.headers['content-type'],
    body,
  });
  if (parsed.kind === 'ask') return replyOf(await ask(parsed.ask), parsed.as);
  const allow = parsed.allow === undefined ? {} : { headers: { Allow: parsed.allow } };
  return { ...wrong(parsed.status, parsed.why), ...allow };
}

function replyOf(answer: GuestAnswer, as: 'json' | 'summary'): Reply {
  if (answer.kind === 'ok')
    return { status: 200, body: as === 'json' ? answer.view : summariseJob(answer.view) };
  if (answer.retry === 'never') return wrong(403, answer.why);
  return { ...wrong(503, answer.why), headers: { 'Retry-After': 1 } };
}

function tooMany(request: IncomingMessage): Reply {
  request.resume();
  const why = 'Too many requests; the limit is a few a second.';
  return { ...wrong(429, why), headers: { 'Retry-After': 1, Connection: 'close' } };
}

const LAST = { headers: { Connection: 'close' } };

function wrong(status: number, error: string): Reply {
  return { status, body: { error } };
}

/** Undefined when it is too large: the rest is not read. Rejects when the guest goes away. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request.iterator({ destroyOnReturn: false })) {
    const chunk = Buffer.isBuffer(part) ? part : Buffer.from(String(part));
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return undefined;
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Nothing is sent to a guest that has gone. */
function send(response: ServerResponse, reply: Reply | undefined): void {
  if (reply === undefined || response.destroyed) {
    response.destroy();
    return;
  }
  const isText = typeof reply.body === 'string';
  const text = isText ? String(reply.body) : `${JSON.stringify(reply.body)}\n`;
  response.writeHead(reply.status, {
    'Content-Type': isText ? 'text/markdown; charset=utf-8' : 'application/json',
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
    ...reply.headers,
  });
  response.end(text);
}
