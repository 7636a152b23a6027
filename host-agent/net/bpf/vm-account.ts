/** A VM's counters at its gateway as the gateway tells them. Pure. */
import { MAX_PEER_NETWORKS, type VmTraffic } from '../../protocol/gateway-messages.ts';
import type { Drops } from './drop-reasons.ts';

export interface Counted {
  readonly outPackets: number;
  readonly outBytes: number;
  readonly inPackets: number;
  readonly inBytes: number;
}

export interface VmTotals extends Counted {
  readonly drops: Drops;
}

export interface PeerNetwork extends Counted {
  /** CIDR. */
  readonly prefix: string;
}

/** The networks with the most bytes first, reasons with the most packets first. */
export function accountOf(totals: VmTotals, networks: readonly PeerNetwork[]): VmTraffic {
  const drops = Object.entries(totals.drops).map(([reason, packets]) => ({ reason, packets }));
  return {
    ...waysOf(totals),
    drops: drops.toSorted((a, b) => b.packets - a.packets),
    peers: networks
      .toSorted((a, b) => bytesOf(b) - bytesOf(a) || (a.prefix < b.prefix ? -1 : 1))
      .slice(0, MAX_PEER_NETWORKS)
      .map((one) => ({ network: one.prefix, ...waysOf(one) })),
  };
}

function waysOf({
  outPackets,
  outBytes,
  inPackets,
  inBytes,
}: Counted): Pick<VmTraffic, 'out' | 'in'> {
  return {
    out: { packets: outPackets, bytes: outBytes },
    in: { packets: inPackets, bytes: inBytes },
  };
}

function bytesOf({ outBytes, inBytes }: Counted): number {
  return outBytes + inBytes;
}
