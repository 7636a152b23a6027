/** How the agent speaks TLS with the control plane: 1.3 only, its own CA only, both sides proven. */
import { createHash, X509Certificate } from 'node:crypto';
import { Agent } from 'undici';
import type { Identity } from './identity.ts';

export interface AgentTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly minVersion: 'TLSv1.3';
}

const CONNECT_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 4;

export function tlsOf(
  identity: Pick<Identity, 'caPem' | 'certificatePem' | 'privateKeyPem'>,
): AgentTls {
  return {
    ca: identity.caPem,
    cert: identity.certificatePem,
    key: identity.privateKeyPem,
    minVersion: 'TLSv1.3',
  };
}

/** For HTTPS calls to the control plane; the owner destroys it. */
export function createDispatcher(identity: Identity): Agent {
  return new Agent({
    connect: { ...tlsOf(identity), timeout: CONNECT_TIMEOUT_MS },
    connections: MAX_CONNECTIONS,
  });
}

/** SHA-256 of the certificate's DER, hexadecimal; undefined for text that is no certificate. */
export function fingerprintOf(certificatePem: string): string | undefined {
  try {
    return createHash('sha256').update(new X509Certificate(certificatePem).raw).digest('hex');
  } catch {
    return undefined;
  }
}
