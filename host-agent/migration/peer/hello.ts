/** The first words of a connection, judged. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type Refused, refused } from '../../protocol/errors.ts';
import type { HostId, MigrationId, VmId } from '../../protocol/ids.ts';
import { PEER_PROTOCOL_VERSION, type PeerFrame } from './peer-frames.ts';

/** The one move that a connection is for, as the control plane told both agents. */
export interface PeerExpectation {
  readonly migrationId: MigrationId;
  readonly vmId: VmId;
  /** Base64; a secret of this attempt. */
  readonly credential: string;
  /** The host on the other side. */
  readonly hostId: HostId;
}

export function helloFor({ migrationId, vmId, credential }: PeerExpectation): PeerFrame {
  return { kind: 'hello', protocol: PEER_PROTOCOL_VERSION, migrationId, vmId, credential };
}

/** The reason for a wrong secret, move or VM is the same: it tells nobody which part was right. */
export function judgeHello(
  frame: PeerFrame,
  expected: PeerExpectation,
): { readonly kind: 'welcome' } | Refused {
  if (frame.kind !== 'hello') return refused('The first frame has to be a hello.');
  if (frame.protocol !== PEER_PROTOCOL_VERSION) {
    return refused(
      `This host speaks version ${PEER_PROTOCOL_VERSION} of the peer protocol, not ${frame.protocol}. Run one version of Architect on all hosts.`,
    );
  }
  const isSame = [
    isSameSecret(frame.credential, expected.credential),
    isSameSecret(frame.migrationId, expected.migrationId),
    isSameSecret(frame.vmId, expected.vmId),
  ];
  if (isSame.every(Boolean)) return { kind: 'welcome' };
  return refused('This host does not expect this move. The control plane has to start a new one.');
}

/** In constant time, whatever the lengths. */
function isSameSecret(given: string, wanted: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text, 'utf8').digest();
  return timingSafeEqual(hash(given), hash(wanted));
}
