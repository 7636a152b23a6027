/** The kernel's backend on a gateway, as nft and `ip -batch -` read it. Pure. */
import { GUEST_PREFIX6, guestAddress6 } from '../guest-ipv6.ts';
import type { GatewayVm, VmSeat } from '../switch-backend.ts';
import { planPeer, TUNNEL_LINK, viaTunnel } from '../tunnel.ts';
import { planPeer6, viaTunnel6 } from '../tunnel6.ts';
import { vmNumber } from '../vni.ts';
import { planForward6, planSourceNat6 } from './gateway-rules6.ts';
import { OFFERED_MAP, planOfferedChain } from './offered-ports.ts';
import type { Passage, TunnelTable } from './tunnel-rules.ts';

export interface GatewayAddresses {
  readonly fleet: string;
  /** CIDR. */
  readonly guestRange: string;
  /** What guests' connections come from, as the outside sees them. */
  readonly publicAddress: string;
  /** The operator's /64 for guests; undefined: they have no IPv6. */
  readonly prefix6?: string | undefined;
}

/**
 * Guests reach the outside, neither each other nor the gateway; replies come in, and what is for an
 * offered port. A packet in the middle of a connection that the kernel does not know is dropped: a
 * reset would end it.
 */
export function planGatewayTable(addresses: GatewayAddresses): TunnelTable {
  const { fleet, guestRange, publicAddress, prefix6 } = addresses;
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
${planForward6(prefix6)}    oifname "${TUNNEL_LINK}" ct status dnat accept
    oifname "${TUNNEL_LINK}" ct state != { established, related } drop
  }
`,
      planOfferedChain(publicAddress),
      `  chain source-nat {
    type nat hook postrouting priority 100; policy accept;
    ip saddr ${guestRange} oifname != "${TUNNEL_LINK}" snat ip to ${publicAddress}
${planSourceNat6(prefix6)}  }
`,
    ],
  };
}

/** A guest's addresses, and whether it has both. */
export interface Addressed extends Pick<GatewayAddresses, 'prefix6'> {
  readonly guestAddress: string;
}

/** Undefined seat: what comes for the guest is dropped, not refused. */
export function planRoute(vm: Addressed, seat: VmSeat | undefined): string {
  const { guestAddress, prefix6 } = vm;
  const guest6 = `${guestAddress6(guestAddress)}/128`;
  const has6 = prefix6 !== undefined;
  if (seat === undefined)
    return lines([
      `route replace blackhole ${guestAddress}/32`,
      ...(has6 ? [`route replace blackhole ${guest6}`] : []),
    ]);
  return lines([
    `route replace ${guestAddress}/32 ${viaTunnel(seat)}`,
    ...(has6 ? [`route replace ${guest6} ${viaTunnel6(seat)}`] : []),
  ]);
}

/** What comes for a guest that is not known here now is dropped too. */
export function planUnknownGuests({ guestRange, prefix6 }: GatewayAddresses): string {
  const ranges6 = prefix6 === undefined ? [] : [GUEST_PREFIX6, prefix6];
  return lines([guestRange, ...ranges6].map((range) => `route replace blackhole ${range}`));
}

export function planSeats(vm: GatewayVm & Addressed): string {
  const { seat, previous, prefix6 } = vm;
  const hosts = [seat, previous].flatMap((one) => one?.host ?? []);
  const peers = hosts.flatMap((host) =>
    prefix6 === undefined ? [planPeer(host)] : [planPeer(host), planPeer6(host)],
  );
  return `${lines(peers)}${planRoute(vm, seat)}`;
}

/** Lines that may fail. */
export function planGone(guestAddress: string): string {
  return lines([
    `route del ${guestAddress}/32`,
    `route del blackhole ${guestAddress}/32`,
    `route del ${guestAddress6(guestAddress)}/128`,
  ]);
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

function lines(commands: readonly string[]): string {
  return commands.map((command) => `${command}\n`).join('');
}
