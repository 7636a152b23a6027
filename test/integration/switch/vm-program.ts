/**
 * A host's agent as far as a VM's network goes: `vm-program.ts FLEET UNDERLAY GATEWAY GUEST VM`. Makes
 * the network of a VM that has this gateway, in the namespace that this runs in; each line on standard
 * input is answered with what the VM is told of it.
 */
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { NEVER, PRIVATE } from '../../../host-agent/net/guest-policy.ts';
import { openHostSwitch } from '../../../host-agent/net/open-switch.ts';
import { openVmNetworks } from '../../../host-agent/net/vm-networks.ts';

const [fleet = '', underlay = '', gateway, guestAddress, vmId = ''] = process.argv.slice(2);
const logger = pino({ level: 'silent' });
const allow = ['fd12::/16', 'fe80::/10'];
const deny = ['2001:db8:66::1/128'];
const guard = { reach: { never: [...NEVER, ...deny], allow, private: PRIVATE, dns: [] } };
const networks = await openVmNetworks({
  hostSwitch: openHostSwitch({ fleet, underlay, mtu: 1450, guard, logger }),
  ...{ fleet, tag: 't', underlayMtu: 1500, dns: [], allow, deny, logger },
});
const network = await networks.ensure(vmId, { guestAddress, gateway, ipv6: true });
process.stdout.write('"ready"\n');
for await (const _ of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(network)}\n`);
}
