/** Two enrolled hosts and what the control plane told both of one move. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateAuthority,
  openCertificateAuthority,
} from '../../../app/agents/certificate-authority.ts';
import { generateHostKeys } from '../../../host-agent/control/host-keys.ts';
import { dialPeer } from '../../../host-agent/migration/peer/dial-peer.ts';
import type { PeerExpectation } from '../../../host-agent/migration/peer/hello.ts';
import {
  type ConnectionLimits,
  DEFAULT_LIMITS,
} from '../../../host-agent/migration/peer/peer-connection.ts';
import { listenForPeer } from '../../../host-agent/migration/peer/peer-listener.ts';
import type { PeerIdentity } from '../../../host-agent/migration/peer/peer-tls.ts';
import { HostId, MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';

export const SOURCE = HostId.parse('h-source');
export const TARGET = HostId.parse('h-target');
export const PORTS = { first: 49_152, last: 49_215 };
/** Ticks are short, so that a silent peer is found out within a test. */
export const QUICK: ConnectionLimits = { ...DEFAULT_LIMITS, tickMs: 50, lingerMs: 200 };

export interface PeerHosts extends AsyncDisposable {
  readonly source: PeerIdentity;
  readonly target: PeerIdentity;
  readonly stranger: PeerIdentity;
  /** Of another fleet's authority, with the source's id. */
  readonly foreigner: PeerIdentity;
  readonly move: Omit<PeerExpectation, 'hostId'>;
}

export async function enrolPeers(): Promise<PeerHosts> {
  const dir = await mkdtemp(join(tmpdir(), 'peers-'));
  const authority = await openCertificateAuthority(join(dir, 'ca'), Date.now());
  const other = await openCertificateAuthority(join(dir, 'other'), Date.now());
  return {
    source: await identityOf(authority, SOURCE),
    target: await identityOf(authority, TARGET),
    stranger: await identityOf(authority, HostId.parse('h-stranger')),
    foreigner: {
      ...(await identityOf(other, SOURCE)),
      caPem: authority.certificatePem,
    },
    move: {
      migrationId: MigrationId.parse('mig-1'),
      vmId: VmId.parse('vm-1'),
      credential: randomBytes(32).toString('base64'),
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

async function identityOf(authority: CertificateAuthority, hostId: HostId): Promise<PeerIdentity> {
  const { csrPem, privateKeyPem } = await generateHostKeys();
  const issued = await authority.signHost({ csrPem, hostId, nowMs: Date.now() });
  if (issued.kind === 'refused') throw new Error(issued.why);
  const { certificatePem } = issued;
  return { caPem: authority.certificatePem, certificatePem, privateKeyPem };
}

export function listenAt(hosts: PeerHosts, signal = AbortSignal.timeout(20_000)) {
  return listenForPeer({
    identity: hosts.target,
    expected: { ...hosts.move, hostId: SOURCE },
    ports: PORTS,
    signal,
    limits: QUICK,
    helloTimeoutMs: 300,
  });
}

export function dialTo(
  hosts: PeerHosts,
  port: number,
  { identity = hosts.source, ...wrong }: Partial<PeerExpectation & { identity: PeerIdentity }> = {},
) {
  return dialPeer({
    identity,
    expected: { ...hosts.move, hostId: TARGET, ...wrong },
    endpoint: { host: '127.0.0.1', port },
    signal: AbortSignal.timeout(20_000),
    limits: QUICK,
  });
}

/** Both ends of a real connection; they end with the test. */
export async function connectPeers(hosts: PeerHosts) {
  const listener = await listenAt(hosts);
  const source = await dialTo(hosts, listener.port);
  const target = await listener.accepted;
  return {
    source,
    target,
    [Symbol.dispose]: () => {
      source.close();
      target.close();
    },
  };
}
