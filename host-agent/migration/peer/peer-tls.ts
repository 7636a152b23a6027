/**
 * How two agents prove themselves to each other: TLS 1.3, both certificates of the fleet's CA, and the
 * other's names the host that the control plane announced. Hosts are known by id; addresses and DNS
 * names prove nothing here.
 */
import type { PeerCertificate } from 'node:tls';
import type { Identity } from '../../control/identity.ts';
import { tlsOf } from '../../control/tls.ts';
import type { HostId } from '../../protocol/ids.ts';

export type PeerIdentity = Pick<Identity, 'caPem' | 'certificatePem' | 'privateKeyPem'>;

/** The fastest of TLS 1.3's first; all of them do. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

export function peerTlsOf(identity: PeerIdentity) {
  return {
    ...tlsOf(identity),
    maxVersion: 'TLSv1.3',
    ciphers: CIPHERS,
  } as const;
}

/** Only the one common name counts; a certificate with several or none is nobody's. */
export function isCertificateOf(certificate: PeerCertificate, hostId: HostId): boolean {
  const subject: unknown = certificate.subject;
  if (typeof subject !== 'object' || subject === null || !('CN' in subject)) return false;
  return subject.CN === hostId;
}
