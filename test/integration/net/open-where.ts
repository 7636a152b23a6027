/**
 * What the tests' agents are told of their world, as JSON: the fleet, and for VMs that have a gateway
 * the make of the switch and both underlay addresses.
 */
import type { Logger } from 'pino';
import { z } from 'zod';
import { guestRateOf, NEVER, PRIVATE } from '../../../host-agent/net/guest-policy.ts';
import { openKernelHost } from '../../../host-agent/net/kernel/host-switch.ts';
import { openHostSwitch } from '../../../host-agent/net/open-switch.ts';

const Where = z.object({
  fleet: z.string(),
  make: z.enum(['kernel', 'bpf']).optional(),
  host: z.string().default(''),
  gateway: z.string().optional(),
});
const RATE_MBIT = 1;

interface Agent {
  readonly allow: readonly string[];
  readonly dns: readonly string[];
  readonly logger: Logger;
}

/** `hostSwitch` undefined: its VMs have no gateway. */
export function openWhere(where: string, { allow, dns, logger }: Agent) {
  const { fleet, make, host: underlay, gateway } = Where.parse(JSON.parse(where));
  const rate = guestRateOf(RATE_MBIT);
  const tunnel = { fleet, underlay, mtu: 1450, logger };
  const guard = { reach: { never: NEVER, allow, private: PRIVATE, dns }, rate };
  const open = {
    kernel: () => openKernelHost(tunnel),
    bpf: () => openHostSwitch({ ...tunnel, guard }),
  };
  return { fleet, gateway, rate, hostSwitch: make === undefined ? undefined : open[make]() };
}
