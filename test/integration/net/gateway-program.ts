/**
 * The gateway of a host's VMs, run in the gateway's namespace: `gateway-program.ts WHERE PUBLIC
 * GUEST…`, WHERE as open-where.ts has it. Its packets flow on when it ends.
 */
import { pino } from 'pino';
import { z } from 'zod';
import { openKernelGateway } from '../../../host-agent/net/kernel/gateway-switch.ts';
import { openGatewaySwitch } from '../../../host-agent/net/open-switch.ts';
import { vmNumber, vniOf } from '../../../host-agent/net/vni.ts';
import { GUEST_RANGE } from '../../../host-agent/protocol/guest-addresses.ts';

const Where = z.object({
  fleet: z.string(),
  make: z.enum(['kernel', 'bpf']),
  host: z.string(),
  gateway: z.string(),
});

const [where = '', publicAddress = '', ...guests] = process.argv.slice(2);
const { fleet, make, host, gateway: underlay } = Where.parse(JSON.parse(where));
const logger = pino({ level: 'silent' });
const options = { fleet, underlay, mtu: 1450, logger, publicAddress, guestRange: GUEST_RANGE };
const open = { kernel: openKernelGateway, bpf: openGatewaySwitch };
const gateway = await open[make](options);
for (const guestAddress of guests) {
  const number = vmNumber(guestAddress);
  const seat = { host, vni: vniOf({ number, epoch: 1 }) };
  await gateway.ensureVm({ number, guestAddress, seat });
}
process.stdout.write('ready\n');
