/**
 * The agent's side of the test, run in a host's namespace: `host-program.ts FLEET ALLOW COMMAND
 * VM…`. Prints what `ensure` gave, or what is listed, as JSON. Each run is a restarted agent.
 */
import { pino } from 'pino';
import { openVmNetworks } from '../../../host-agent/net/vm-networks.ts';

const [fleet = '', allow = '', command = '', ...vmIds] = process.argv.slice(2);
const networks = await openVmNetworks({
  fleet,
  tag: 't',
  underlayMtu: 1500,
  dns: ['10.0.0.53'],
  allow: allow === '' ? [] : allow.split(','),
  logger: pino({ level: 'silent' }),
});
if (command === 'ensure') {
  process.stdout.write(JSON.stringify(await Promise.all(vmIds.map((id) => networks.ensure(id)))));
} else if (command === 'retain') {
  await networks.retain(new Set(vmIds));
  process.stdout.write(JSON.stringify(networks.list()));
} else {
  throw new Error(`unknown command ${command}`);
}
