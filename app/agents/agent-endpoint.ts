/**
 * Where host-agents dial in: HTTPS, TLS 1.3 only.
 *
 *   POST /enrol                  no certificate; one-time token; rate-limited per address
 *   GET  /artifacts/<digest>/<f> a host's certificate
 *   POST /underlay               a host's or gateway's certificate; held until there is news
 *   GET  /agent                  a host's certificate → WebSocket; 503 while another process leads
 *   GET  /gateway                a gateway's certificate → WebSocket, the same
 *
 * A host's certificate is one that our CA signed and whose fingerprint the enrolment store holds,
 * not revoked. Bodies, heads, connections and waiting times are bounded.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { MAX_FRAME_BYTES } from '../../host-agent/protocol/messages.ts';
import { whyNotListening } from '../listen-trouble.ts';
import { findArtifactFile, parseArtifactPath, sendArtifactFile } from './artifact-serving.ts';
import type { CertificateAuthority } from './certificate-authority.ts';
import type { EnrolledHost, EnrolmentStore } from './enrolment.ts';
import { answerEnrolment } from './enrolment-door.ts';
import type { AgentFleet } from './fleet.ts';
import type { GatewayFleet } from './gateway-fleet.ts';
import { RateLimit } from './rate-limit.ts';
import type { UnderlayDesk } from './underlay-desk.ts';
import { answerUnderlay } from './underlay-door.ts';

const HEAD_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const MAX_CONNECTIONS = 4_000;
const RETRY_AFTER_SECONDS = 5;
const ENROL_LIMITS = { burst: 30, perMinute: 30, maxCallers: 10_000 };

export class AgentEndpointError extends ArchitectError {
  readonly code = 'AGENT_ENDPOINT';
  readonly retry = 'later';
}

export interface AgentEndpointOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** DNS names and IP addresses by which agents reach this endpoint. */
  readonly names: readonly string[];
  readonly authority: CertificateAuthority;
  readonly enrolment: EnrolmentStore;
  readonly fleet: AgentFleet;
  readonly gateways: Pick<GatewayFleet, 'attach'>;
  readonly underlay: Pick<UnderlayDesk, 'answer'>;
  readonly artifactsDir: string;
  /** Whether this process holds the reconciler's lease. */
  readonly isLeader: () => boolean;
  readonly now: () => number;
  readonly logger: Logger;
}

export interface AgentEndpoint {
  readonly port: number;
  /** Stops listening and ends every connection. */
  close(): Promise<void>;
}

/** Resolves when the port is open; throws AgentEndpointError when it cannot be had. */
export async function startAgentEndpoint(options: AgentEndpointOptions): Promise<AgentEndpoint> {
  const { authority, names, now } = options;
  const identity = await authority.issueServer({ names, nowMs: now() });
  const server = createServer({
    key: identity.keyPem,
    // The CA travels along, so that an agent that only knows its hash can check the pin.
    cert: identity.certificatePem + authority.certificatePem,
    ca: authority.certificatePem,
    minVersion: 'TLSv1.3',
    requestCert: true,
    rejectUnauthorized: false,
    headersTimeout: HEAD_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    handshakeTimeout: HEAD_TIMEOUT_MS,
  });
  server.maxConnections = MAX_CONNECTIONS;
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
  });
  const limit = new RateLimit(ENROL_LIMITS);
  server.on('request', (request, response) => void answer({ options, limit, request, response }));
  server.on('upgrade', (request, socket, head) =>
    upgrade({ options, sockets, request, socket, head }),
  );
  await listen(server, options.listen);
  return { port: portOf(server), close: () => close(server, sockets) };
}

interface Exchange {
  readonly options: AgentEndpointOptions;
  readonly limit: RateLimit;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

async function answer(exchange: Exchange): Promise<void> {
  const { options, request, response } = exchange;
  try {
    await route(exchange);
  } catch (error) {
    options.logger.error({ err: error, path: request.url }, 'agent endpoint failed to answer');
    if (response.headersSent) response.destroy();
    else refuse(response, 500, 'The control plane failed to answer; its log says why.');
  }
}

async function route({ options, limit, request, response }: Exchange): Promise<void> {
  if (request.url === '/enrol')
    return await answerEnrolment({ ...options, limit, request, response });
  const caller = findCaller(request, options.enrolment);
  if (caller === undefined) {
    refuse(response, 401, 'A certificate of an enrolled host is needed.');
    return;
  }
  if (request.url === '/underlay' && request.method === 'POST')
    return await answerUnderlay({ desk: options.underlay, caller, request, response });
  const wanted = parseArtifactPath(request.url ?? '');
  if (wanted === undefined) {
    refuse(response, 404, 'There is nothing here.');
    return;
  }
  if (request.method !== 'GET') {
    refuse(response, 405, 'Artifacts can only be read.');
    return;
  }
  const file = await findArtifactFile(options.artifactsDir, wanted);
  if (file === undefined) {
    refuse(response, 404, 'This artifact or file is not in the store.');
    return;
  }
  await sendArtifactFile(file, response).catch((error: unknown) => {
    options.logger.warn({ err: error, digest: wanted.digest }, 'artifact transfer broke off');
    response.destroy();
  });
}

function upgrade(call: {
  readonly options: AgentEndpointOptions;
  readonly sockets: WebSocketServer;
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}): void {
  const { options, sockets, request, socket, head } = call;
  socket.on('error', (error) => options.logger.debug({ err: error }, 'agent socket broke'));
  const caller = findCaller(request, options.enrolment);
  if (caller === undefined) {
    reject(socket, '401 Unauthorized');
    return;
  }
  const path = caller.role === 'gateway' ? '/gateway' : '/agent';
  if (request.url !== path) {
    reject(socket, '404 Not Found');
    return;
  }
  if (!options.isLeader()) {
    reject(socket, `503 Service Unavailable\r\nRetry-After: ${RETRY_AFTER_SECONDS}`);
    return;
  }
  const fleet = caller.role === 'gateway' ? options.gateways : options.fleet;
  sockets.handleUpgrade(request, socket, head, (client) => fleet.attach(caller, client));
}

/** The enrolled, not revoked host whose certificate the connection showed. */
function findCaller(
  { socket }: IncomingMessage,
  enrolment: EnrolmentStore,
): EnrolledHost | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const fingerprint = socket.getPeerCertificate().fingerprint256;
  if (fingerprint === undefined) return undefined;
  const host = enrolment.findByFingerprint(fingerprint.replaceAll(':', '').toLowerCase());
  return host?.revoked === false ? host : undefined;
}

function reject(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function refuse(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify({ title: why, status }));
}

async function listen(
  server: Server,
  address: { readonly host: string; readonly port: number },
): Promise<void> {
  const opened = Promise.withResolvers<void>();
  server.once('error', opened.reject);
  server.listen(address.port, address.host, opened.resolve);
  try {
    await opened.promise;
  } catch (cause) {
    throw new AgentEndpointError(
      `Cannot listen for host-agents on ${address.host}:${address.port}: ${whyNotListening(cause)}. Free it, or change agents.listen.`,
      { cause },
    );
  } finally {
    server.off('error', opened.reject);
  }
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  return address === null || typeof address === 'string' ? 0 : address.port;
}

async function close(server: Server, sockets: WebSocketServer): Promise<void> {
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  // The server no longer counts a WebSocket among its connections, but waits for it.
  for (const socket of sockets.clients) socket.terminate();
  server.closeAllConnections();
  await closed.promise;
}
