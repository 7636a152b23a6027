/**
 * Where the sources of moves ask the gateway for flips, and its standbys for its flows: HTTPS, both
 * sides of the fleet's CA.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Writable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { type PeerIdentity, peerTlsOf } from '../migration/peer/peer-tls.ts';
import type { Refused } from '../protocol/errors.ts';
import { Flip } from '../protocol/gateway-messages.ts';
import { HostId } from '../protocol/ids.ts';

const MAX_BODY_BYTES = 4 * 1024;
const MAX_CONNECTIONS = 500;
const REQUEST_TIMEOUT_MS = 5_000;

export interface FlipDoorParts {
  readonly identity: PeerIdentity;
  readonly listen: { readonly host: string; readonly port: number };
  readonly flip: (flip: Flip, asking: HostId) => Promise<Refused | undefined>;
  /** Undefined: that gateway does not stand by for this one. Else it writes until the signal comes. */
  readonly feed: (
    asking: HostId,
  ) => undefined | ((out: Writable, signal: AbortSignal) => Promise<void>);
  readonly logger: Logger;
}

/** Rejects with the system's error when the port cannot be had. */
export async function openFlipDoor(parts: FlipDoorParts): Promise<{ close(): void }> {
  const server = createServer({
    ...peerTlsOf(parts.identity),
    requestCert: true,
    rejectUnauthorized: true,
    requestTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: REQUEST_TIMEOUT_MS,
    // A connection waits from the beginning of a move for its flip.
    keepAliveTimeout: 600_000,
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request, response) => {
    answer(parts, request, response).catch((err: unknown) => {
      parts.logger.error({ err }, 'a flip failed');
      reply(response, 500, 'The gateway failed; its log says why.');
    });
  });
  server.listen(parts.listen.port, parts.listen.host);
  await once(server, 'listening');
  return {
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function answer(
  parts: FlipDoorParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method === 'GET' && request.url === '/flows')
    return await answerFlows(parts, callerOf(request), response);
  const { flip, logger } = parts;
  if (request.method !== 'POST' || request.url !== '/flip')
    return reply(response, 404, 'There is nothing here.');
  const asking = callerOf(request);
  const asked = Flip.safeParse(await readBody(request));
  if (asking === undefined || !asked.success) return reply(response, 400, 'This is no flip.');
  const { vmId, migrationId, to } = asked.data;
  const denied = await flip(asked.data, asking);
  if (denied !== undefined) {
    logger.warn({ vmId, migrationId, asking, why: denied.why }, 'a flip was refused');
    return reply(response, 409, denied.why);
  }
  logger.info({ vmId, migrationId, to }, 'flipped');
  response.writeHead(204).end();
}

async function answerFlows(
  { feed, logger }: FlipDoorParts,
  asking: HostId | undefined,
  response: ServerResponse,
): Promise<void> {
  const give = asking === undefined ? undefined : feed(asking);
  if (give === undefined) return reply(response, 409, 'You do not stand by for this gateway.');
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  logger.info({ asking }, 'a standby follows');
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  try {
    await give(response, gone.signal);
  } finally {
    response.destroy();
  }
}

function callerOf({ socket }: IncomingMessage): HostId | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  return HostId.safeParse(socket.getPeerCertificate().subject.CN).data;
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > MAX_BODY_BYTES) return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reply(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify({ title: why, status }));
}
