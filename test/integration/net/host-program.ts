/**
 * The agent's side of the test, run in a host's namespace: `host-program.ts WHERE ALLOW COMMAND
 * VM…`. WHERE as open-where.ts has it. Prints what `ensure` gave, or what is listed, as JSON. Each run is a restarted agent. `turn`
 * ensures VMs that have gateway 100.64.0.1, then has 100.64.0.2 stand in for it, and prints how the
 * switch saw it.
 */
import { pino } from 'pino';
import type { HostSwitch } from '../../../host-agent/net/switch-backend.ts';
import { openVmNetworks } from '../../../host-agent/net/vm-networks.ts';
import { openWhere } from './open-where.ts';

const [where = '', allowed = '', command = '', ...vmIds] = process.argv.slice(2);
const allow = allowed === '' ? [] : allowed.split(',');
const dns = ['10.0.0.53'];
const logger = pino({ level: 'silent' });
const seen: unknown[] = [];
const noted: HostSwitch = {
  ensureVm: async ({ guestAddress, gateway }) => void seen.push({ guestAddress, gateway }),
  turnTo: async (number, gateway) => {
    seen.push({ number, gateway });
    return true;
  },
  forwardTo: async () => false,
  removeVm: async () => undefined,
  traffic: async () => undefined,
};
const { fleet, gateway, hostSwitch = noted, rate } = openWhere(where, { allow, dns, logger });
const about = { fleet, tag: 't', underlayMtu: 1500, dns, allow, rate, logger };
const networks = await openVmNetworks({ ...about, hostSwitch });
if (command === 'ensure') {
  const made = vmIds.map((id) => networks.ensure(id, { gateway }));
  process.stdout.write(JSON.stringify(await Promise.all(made)));
} else if (command === 'turn') {
  const [first = '', later = ''] = vmIds;
  const attach = { guestAddress: '10.201.7.7', gateway: '100.64.0.1' };
  await networks.ensure(first, attach);
  await networks.useGateways([{ from: '100.64.0.1', to: '100.64.0.2' }]);
  await networks.ensure(later, { ...attach, guestAddress: '10.201.7.8' });
  await networks.uplink(first)?.takeBack();
  process.stdout.write(JSON.stringify(seen));
} else if (command === 'found') {
  for (const vmId of networks.list()) await networks.ensure(vmId);
  process.stdout.write(JSON.stringify(seen));
} else if (command === 'retain') {
  await networks.retain(new Set(vmIds));
  process.stdout.write(JSON.stringify(networks.list()));
} else {
  throw new Error(`unknown command ${command}`);
}
