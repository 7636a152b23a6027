/**
 * What a guest may reach: the guard. Guests are hostile; a pull request's author runs code in them.
 *
 *   guest ─ tap0 ─┤ VM's namespace ├─ up0 ══ arv… ─┤ host's namespace ├─ uplink
 *               ▲         ▲                    ▲
 *               │         │                    └ host-guard.ts: nothing from a guest to the host
 *               │         │                      itself or to another guest, masquerading
 *               │         └ forward: destinations that no guest may reach; replies only inwards (with
 *               │           a gateway that one sees to it: here a moved VM's flows are not known yet)
 *               └ ingress: the guest's own MAC and addresses only, in ARP and ND too
 *
 * Where the VM has a gateway and the switch is made of programs, bpf/host-tap.c does the same before
 * this guard, which is then left with the guest API.
 *
 * Invariants:
 *   - Everything is dropped, nothing rejected: a refused connection makes the official runner cancel
 *     its job, a silent one does not. Nor does the kernel here answer a guest with "unreachable".
 *   - Denied for all: private, shared (which is the fleet's underlay and control plane), link-local
 *     (metadata services), loopback, multicast, reserved ranges, and the metadata addresses that
 *     clouds put elsewhere. Names such as metadata.google.internal lead to these addresses.
 *   - What the operator allows opens private ranges only, never link-local, loopback, multicast or
 *     metadata addresses. Configured resolvers are reachable on port 53 wherever they are.
 *   - The guest API is one port of one address in the VM's own namespace, for its own guest alone.
 *     Only there a reset is sent: it tells a moved guest at once that its connection is not known.
 *   - No connection comes in from outside. IPv6 (guest-policy6.ts) is dropped where there is no gateway.
 *   - TEST-NET-2 (198.51.100.0/24) stays reachable: simulated fleets put their outside there.
 */
import { GUEST_API_ADDRESS, GUEST_API_PORT } from '../protocol/guest-api-address.ts';
import {
  isPrefix6,
  planIngress6,
  planInput6,
  planNever6,
  planOutbound6,
  planOutput6,
} from './guest-policy6.ts';

/** No guest, whatever the operator allows. */
export const NEVER = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '168.63.129.16/32',
  '100.100.100.200/32',
  '192.0.0.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const;

/** Unless the operator allows a prefix. */
export const PRIVATE = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '198.18.0.0/15',
] as const;

/** Same on every host, so that a moved guest's ARP entry stays valid. */
export const TAP_MAC = '02:61:72:00:00:01';
export const GUEST_GATEWAY = GUEST_API_ADDRESS;

const MIN_BURST_BYTES = 128 * 1024;

/** A token bucket; what is beyond it is dropped. */
export interface GuestRate {
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
}

export interface GuestPolicy {
  /** The one MAC that the guest may send from. */
  readonly guestMac: string;
  readonly guestAddress: string;
  readonly dns: readonly string[];
  /** Private prefixes that guests may reach nevertheless, CIDR. */
  readonly allow: readonly string[];
  /** Further prefixes that no guest may reach, CIDR. */
  readonly deny: readonly string[];
  /** It has a gateway: what comes in was let in there. */
  readonly hasGateway?: boolean;
  /** Of what the guest sends; undefined: no limit. */
  readonly rate?: GuestRate | undefined;
}

/** What is sent in a tenth of a second may come at once, and one packet that is not cut yet always. */
export function guestRateOf(megabitsPerSecond: number | undefined): GuestRate | undefined {
  if (megabitsPerSecond === undefined) return undefined;
  const bytesPerSecond = Math.ceil((megabitsPerSecond * 1_000_000) / 8);
  return { bytesPerSecond, burstBytes: Math.max(MIN_BURST_BYTES, Math.ceil(bytesPerSecond / 10)) };
}

/** The whole ruleset of a VM's new namespace, as `nft -f` reads it. */
export function planGuard(policy: GuestPolicy): string {
  return `${planIngress(policy)}${planRest(policy)}`;
}

/**
 * The same, in the place of what may be there, in one transaction. Not for a new namespace: a table
 * that goes makes nft wait for the kernel's grace period, about 15 ms.
 */
export function planGuardAnew(policy: GuestPolicy): string {
  return `table netdev guard
delete table netdev guard
table inet guard
delete table inet guard
${planGuard(policy)}`;
}

function planIngress({ guestMac, guestAddress, rate, hasGateway = false }: GuestPolicy): string {
  const own = `ether saddr ${guestMac}`;
  const limit =
    rate === undefined
      ? ''
      : `    limit rate over ${rate.bytesPerSecond} bytes/second burst ${rate.burstBytes} bytes drop\n`;
  return `table netdev guard {
  chain from-guest {
    type filter hook ingress device "tap0" priority 0; policy drop;
${limit}    ${own} ip saddr ${guestAddress} accept
    ${own} arp saddr ether ${guestMac} arp saddr ip ${guestAddress} arp daddr ip ${GUEST_GATEWAY} accept
${hasGateway ? planIngress6({ guestMac, guestAddress }) : ''}  }
}
`;
}

function planRest({ guestAddress, dns, allow, deny, hasGateway = false }: GuestPolicy): string {
  const replies = hasGateway ? '' : ' ct state established,related';
  const resolvers = dns.map(
    (address) => `    ip daddr ${address} meta l4proto { tcp, udp } th dport 53 accept\n`,
  );
  const allowed = allow.filter(isPrefix4).map((prefix) => `    ip daddr ${prefix} accept\n`);
  return `table inet guard {
  set never { type ipv4_addr; flags interval; auto-merge; elements = { ${[...NEVER, ...deny.filter(isPrefix4)].join(', ')} }; }
${hasGateway ? planNever6(deny) : ''}  set private { type ipv4_addr; flags interval; auto-merge; elements = { ${PRIVATE.join(', ')} }; }
  chain input {
    type filter hook input priority 0; policy drop;
    iifname "tap0" ip saddr ${guestAddress} ip daddr ${GUEST_API_ADDRESS} tcp dport ${GUEST_API_PORT} accept
${hasGateway ? planInput6() : ''}  }
  chain output {
    type filter hook output priority 0; policy drop;
    icmp type destination-unreachable icmp code frag-needed accept
${hasGateway ? planOutput6() : ''}    oifname "tap0" ip saddr ${GUEST_API_ADDRESS} ip daddr ${guestAddress} tcp sport ${GUEST_API_PORT} accept
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
${hasGateway ? '' : '    meta nfproto ipv6 drop\n'}    iifname "tap0" oifname "up0" jump outbound
    iifname "up0" oifname "tap0"${replies} accept
  }
${hasGateway ? planOutbound6(allow) : ''}  chain outbound {
${hasGateway ? '    meta nfproto ipv6 goto outbound6\n' : ''}${resolvers.join('')}    ip daddr @never drop
${allowed.join('')}    ip daddr @private drop
    accept
  }
}
`;
}

function isPrefix4(prefix: string): boolean {
  return !isPrefix6(prefix);
}
