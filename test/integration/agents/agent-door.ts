/** A real agent endpoint on loopback, and the hands of a host-agent that dials it. */
import { randomUUID, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { pino } from 'pino';
import { Agent, request } from 'undici';
import { WebSocket } from 'ws';
import { startAgentEndpoint } from '../../../app/agents/agent-endpoint.ts';
import { openCertificateAuthority } from '../../../app/agents/certificate-authority.ts';
import { EnrolmentStore } from '../../../app/agents/enrolment.ts';
import { AgentFleet } from '../../../app/agents/fleet.ts';
import { GatewayFleet } from '../../../app/agents/gateway-fleet.ts';
import { UnderlayBook } from '../../../app/agents/underlay-book.ts';
import { UnderlayDesk, type UnderlayPolicy } from '../../../app/agents/underlay-desk.ts';
import {
  type AgentRole,
  decodeEnrolmentToken,
  EnrolResponse,
} from '../../../host-agent/protocol/enrolment.ts';
import type { HostFacts } from '../../../host-agent/protocol/host-facts.ts';
import {
  type AgentFrame,
  ControlFrame,
  PROTOCOL_VERSION,
} from '../../../host-agent/protocol/messages.ts';
import { hostFacts, POOL } from '../../fixtures/protocol.ts';

export interface Identity {
  readonly hostId: string;
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}

/** Everything of the control plane's agent side; `await using` ends it and removes its files. */
export async function openDoor(policy: UnderlayPolicy = { kind: 'private' }) {
  const dir = await mkdtemp(join(tmpdir(), 'agents-'));
  const authority = await openCertificateAuthority(join(dir, 'ca'), Date.now());
  const clock = { nowMs: () => Date.now(), isLeader: true };
  const endpoint = { url: 'https://127.0.0.1:1', caSha256: authority.sha256 };
  const enrolment = new EnrolmentStore(join(dir, 'enrolment.db'), endpoint);
  const logger = pino({ level: 'silent' });
  const book = new UnderlayBook(join(dir, 'underlay.db'));
  const underlay = new UnderlayDesk({ policy, book, enrolment, now: () => clock.nowMs() });
  const fleet = new AgentFleet({
    enrolment,
    underlay,
    pool: () => POOL,
    now: () => clock.nowMs(),
    logger,
    requestTimeoutMs: 300,
    tickMs: 50,
  });
  const gateways = new GatewayFleet({ enrolment, underlay, now: () => clock.nowMs(), logger });
  const server = await startAgentEndpoint({
    listen: { host: '127.0.0.1', port: 0 },
    names: ['127.0.0.1', 'localhost'],
    authority,
    enrolment,
    fleet,
    gateways,
    underlay,
    artifactsDir: join(dir, 'artifacts'),
    isLeader: () => clock.isLeader,
    now: () => clock.nowMs(),
    logger,
  });
  return {
    dir,
    authority,
    enrolment,
    underlay,
    fleet,
    gateways,
    clock,
    port: server.port,
    url: `https://127.0.0.1:${server.port}`,
    /** Stops listening and ends every connection; the fleet stays. */
    closeEndpoint: () => server.close(),
    issue: (ttlMs = 60_000, role: AgentRole = 'host') =>
      enrolment.issueEnrolmentToken({ ttlMs, role, nowMs: Date.now() }),
    async [Symbol.asyncDispose]() {
      fleet.close();
      gateways.close();
      await server.close();
      enrolment.close();
      book.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
export type Door = Awaited<ReturnType<typeof openDoor>>;

export async function makeRequest(curve = 'P-256'): Promise<{ csrPem: string; key: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: curve };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=whatever-i-like',
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { csrPem: csr.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
}

export async function postEnrol(door: Door, body: unknown) {
  const dispatcher = new Agent({ connect: { ca: door.authority.certificatePem } });
  try {
    const answer = await request(`${door.url}/enrol`, {
      dispatcher,
      method: 'POST',
      body: JSON.stringify(body),
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  } finally {
    await dispatcher.destroy();
  }
}

export async function enrol(
  door: Door,
  hostname = 'worker',
  role: AgentRole = 'host',
): Promise<Identity> {
  const { csrPem, key } = await makeRequest();
  const secret = decodeEnrolmentToken(door.issue(60_000, role))?.secret;
  const answer = await postEnrol(door, { secret, csrPem, hostname });
  const { hostId, certificatePem, caPem } = EnrolResponse.parse(JSON.parse(answer.text));
  return { hostId, key, cert: certificatePem, ca: caPem };
}

/** The status with which the endpoint refuses an upgrade, or 101. */
export async function upgradeStatus(
  door: Door,
  tls: { readonly key?: string; readonly cert?: string },
  path = '/agent',
): Promise<number> {
  const socket = new WebSocket(`${door.url}${path}`, { ca: door.authority.certificatePem, ...tls });
  const status = Promise.withResolvers<number>();
  socket.on('unexpected-response', (_, response) => status.resolve(response.statusCode ?? 0));
  socket.on('open', () => status.resolve(101));
  socket.on('error', status.reject);
  try {
    return await status.promise;
  } finally {
    socket.on('error', () => {});
    socket.terminate();
  }
}

/** A host-agent's connection that keeps what it is told. */
export async function dial(door: Door, identity: Identity) {
  const { key, cert, ca } = identity;
  const socket = new WebSocket(`${door.url}/agent`, { key, cert, ca });
  const told: ControlFrame[] = [];
  socket.on('message', (data) => told.push(ControlFrame.parse(JSON.parse(String(data)))));
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  await once(socket, 'open');
  return {
    socket,
    told,
    closed,
    send: (frame: AgentFrame) => socket.send(JSON.stringify(frame)),
    hello: (facts: HostFacts = hostFacts()) =>
      socket.send(
        JSON.stringify({
          type: 'hello',
          protocol: PROTOCOL_VERSION,
          agentVersion: '1',
          bootId: randomUUID(),
          facts,
        }),
      ),
    [Symbol.dispose]: () => socket.terminate(),
  };
}

/** A key and certificate of an authority that is not the door's. */
export async function strangerIdentity(dir: string): Promise<{ key: string; cert: string }> {
  const other = await openCertificateAuthority(join(dir, 'other-ca'), Date.now());
  const made = await other.issueServer({ names: ['worker'], nowMs: Date.now() });
  return { key: made.keyPem, cert: made.certificatePem };
}
