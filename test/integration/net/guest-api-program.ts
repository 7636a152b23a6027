/**
 * An agent that has nothing but VMs' networks and their guest API, run in a host's namespace:
 * `guest-api-program.ts WHERE VM…`, WHERE as host-program.ts has it. It answers each with the VM's own id as its class.
 */
import { pino } from 'pino';
import { GuestApi } from '../../../host-agent/guest-api/guest-api.ts';
import { serveGuests } from '../../../host-agent/guest-api/serve-guests.ts';
import { openVmNetworks } from '../../../host-agent/net/vm-networks.ts';
import { openWhere } from './open-where.ts';

const [where = '', ...vmIds] = process.argv.slice(2);
const logger = pino({ level: 'warn' }, process.stderr);
const { fleet, hostSwitch } = openWhere(where, { allow: [], dns: [], logger });
const options = { fleet, hostSwitch, tag: 't', underlayMtu: 1500, dns: [], allow: [], logger };
const about = {
  ...{ cpuModel: null, pricePerHourUsd: null, moves: 0, movesWhileHeld: 0, resize: null },
  ...{ blackoutsMs: [], cost: null },
};
const api = new GuestApi({
  ask: async (vmId, ask) => ({
    kind: 'ok',
    view: { ...about, class: vmId, held: ask.kind === 'hold' && ask.held },
  }),
  logger,
});
const networks = serveGuests(await openVmNetworks(options), api);
for (const vmId of vmIds) await networks.ensure(vmId);
process.on('SIGTERM', () => {
  api.end();
  process.exit();
});
setInterval(() => undefined, 60_000);
process.stdout.write('ready\n');
