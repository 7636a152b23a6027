/** Who is whose peer under the tunnel, and which address a node gets there. Pure. */
import type { AgentRole } from '../../host-agent/protocol/enrolment.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import { fromInteger, toInteger } from '../../host-agent/protocol/ipv4-number.ts';
import { MAX_UNDERLAY_PEERS, type UnderlayPeer } from '../../host-agent/protocol/underlay.ts';

export interface UnderlayNode {
  readonly id: HostId;
  readonly role: AgentRole;
  readonly publicKey: string;
  readonly endpoint: string;
  /** Its place in the range; from 1. */
  readonly number: number;
  readonly seenAtMs: number;
}

/** What has been away longer than the one seen last is nobody's peer; asking makes it one again. */
const FORGOTTEN_MS = 7 * 86_400_000;

/**
 * All others: a gateway has hosts, hosts have gateways and, for packets that are sent after a moved VM,
 * each other. The longest unseen are left out where there are more than MAX_UNDERLAY_PEERS.
 */
export function peersOf(
  id: HostId,
  nodes: readonly UnderlayNode[],
  range: string,
): readonly UnderlayPeer[] {
  const own = nodes.find((node) => node.id === id);
  const latestMs = Math.max(...nodes.map(({ seenAtMs }) => seenAtMs));
  return nodes
    .filter((node) => node.id !== id && latestMs - node.seenAtMs <= FORGOTTEN_MS)
    .toSorted((a, b) => b.seenAtMs - a.seenAtMs)
    .slice(0, MAX_UNDERLAY_PEERS)
    .toSorted((a, b) => a.number - b.number)
    .map(({ publicKey, endpoint, number, role }) => ({
      ...{ publicKey, endpoint },
      address: addressAt(range, number),
      keepAlive: role === 'gateway' || own?.role === 'gateway',
    }));
}

export function addressAt(range: string, number: number): string {
  const { first } = parseRange(range);
  return fromInteger(first + number);
}

/** The number after the highest ever given, so that none is soon somebody else's; then gaps. */
export function chooseNumber(taken: readonly number[], range: string): number | undefined {
  const last = parseRange(range).size - 2;
  const next = Math.max(0, ...taken) + 1;
  if (next <= last) return next;
  const held = new Set(taken);
  for (let number = 1; number <= last; number += 1) if (!held.has(number)) return number;
  return undefined;
}

function parseRange(range: string): { readonly first: number; readonly size: number } {
  const [address = '', length = '32'] = range.split('/');
  const size = 2 ** (32 - Number(length));
  const value = toInteger(address);
  return { first: value - (value % size), size };
}
