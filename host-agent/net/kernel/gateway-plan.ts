/** The kernel's backend on a gateway, as nft and `ip -batch -` read it. Pure. */
import type { GatewayVm, VmSeat } from '../switch-backend.ts';
import { planPeer, TUNNEL_LINK, viaTunnel } from '../tunnel.ts';
import { vmNumber } from '../vni.ts';
import { OFFERED_MAP, planOfferedChain } from './offered-ports.ts';
import type { Passage, TunnelTable } from './tunnel-rules.ts';

export interface GatewayAddresses {
  readonly fleet: string;
  /** CIDR. */
  readonly guestRange: string;
  /** What guests' connections come from, as the outside sees them. */
  readonly publicAddress: string;
}

/**
 * Guests reach the outside, neither each other nor the gateway; replies come in, and what is for an
 * offered port. A packet in the middle of a connection that the kernel does not know is dropped: a
 * reset would end it.
 */
export function planGatewayTable(addresses: GatewayAddresses): TunnelTable {
  const { fleet, guestRange, publicAddress } = addresses;
  return {
    name: `ar-${fleet}-gateway`,
    role: 'gateway',
    maps: [OFFERED_MAP],
    chains: [
      `  chain strays {
    type filter hook input priority -5; policy accept;
    tcp flags & (syn | rst | ack) != syn ct state new drop
  }
`,
      `  chain forward {
    type filter hook forward priority -5; policy accept;
    iifname "${TUNNEL_LINK}" oifname "${TUNNEL_LINK}" drop
    iifname "${TUNNEL_LINK}" ip saddr != ${guestRange} drop
    oifname "${TUNNEL_LINK}" ct status dnat accept
    oifname "${TUNNEL_LINK}" ct state != { established, related } drop
  }
`,
      planOfferedChain(publicAddress),
      `  chain source-nat {
    type nat hook postrouting priority 100; policy accept;
    ip saddr ${guestRange} oifname != "${TUNNEL_LINK}" snat ip to ${publicAddress}
  }
`,
    ],
  };
}

/** Undefined seat: what comes for the guest is dropped, not refused. */
export function planRoute(guestAddress: string, seat: VmSeat | undefined): string {
  if (seat === undefined) return `route replace blackhole ${guestAddress}/32\n`;
  return `route replace ${guestAddress}/32 ${viaTunnel(seat)}\n`;
}

/** What comes for a guest that is not known here now is dropped too. */
export function planUnknownGuests(guestRange: string): string {
  return `route replace blackhole ${guestRange}\n`;
}

export function planSeats({ guestAddress, seat, previous }: GatewayVm): string {
  const seats = [seat, previous].filter((one) => one !== undefined);
  return `${seats.map((one) => `${planPeer(one.host)}\n`).join('')}${planRoute(guestAddress, seat)}`;
}

export function passagesOf({ guestAddress, seat, previous }: GatewayVm): readonly Passage[] {
  return [seat, previous].flatMap((one) => (one === undefined ? [] : { ...one, guestAddress }));
}

/** What a crash left, from `ip route show` and the passages that nft holds. */
export function readGatewayVms(routes: string, passages: readonly Passage[]): readonly GatewayVm[] {
  const seats = new Map<string, VmSeat | undefined>();
  for (const line of routes.split('\n')) {
    const blackhole = /^blackhole ([\d.]+)(?:\s|$)/.exec(line)?.[1];
    if (blackhole !== undefined) seats.set(blackhole, undefined);
    const [, guest, vni, host] = /^([\d.]+)\s+encap ip id (\d+) .*?\bdst ([\d.]+)/.exec(line) ?? [];
    if (guest !== undefined && host !== undefined) seats.set(guest, { host, vni: Number(vni) });
  }
  for (const { guestAddress } of passages)
    if (!seats.has(guestAddress)) seats.set(guestAddress, undefined);
  return [...seats].map(([guestAddress, seat]) => {
    const previous = passages.find(
      (one) => one.guestAddress === guestAddress && one.vni !== seat?.vni,
    );
    return {
      number: vmNumber(guestAddress),
      guestAddress,
      seat,
      ...(previous === undefined ? {} : { previous: { host: previous.host, vni: previous.vni } }),
    };
  });
}
