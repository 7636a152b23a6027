/** How long a flow may be silent before nothing comes in by it any more. Pure. */
import { NAT_CLASSES, NAT_STATES } from './abi.ts';

type IdleSeconds = Readonly<
  Record<(typeof NAT_CLASSES)[number], Readonly<Record<(typeof NAT_STATES)[number], number>>>
>;

/** As Linux's conntrack (nf_conntrack_proto_tcp.c, _udp.c, _icmp.c): its defaults, seconds. */
export const LINUX_IDLE_SECONDS: IdleSeconds = {
  tcp: { opening: 120, open: 432_000, closing: 120, closed: 10 },
  udp: { opening: 30, open: 120, closing: 120, closed: 120 },
  icmp: { opening: 30, open: 30, closing: 30, closed: 30 },
};

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;

/** For `struct gateway_config`: by class, then by state. */
export function flattenIdleSeconds(seconds: IdleSeconds): readonly number[] {
  return NAT_CLASSES.flatMap((name) => NAT_STATES.map((state) => seconds[name][state]));
}
