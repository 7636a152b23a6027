/**
 * A switch in the namespace that this runs in: `switch-program.ts ROLE FLEET UNDERLAY [PUBLIC]`. Takes
 * one JSON array per line, a method's name and its arguments, and prints one JSON value per line.
 */
import { createInterface } from 'node:readline';
import { openKernelGateway } from '../../../host-agent/net/kernel/gateway-switch.ts';
import { openKernelHost } from '../../../host-agent/net/kernel/host-switch.ts';

const [role, fleet = '', underlay = '', publicAddress = ''] = process.argv.slice(2);
const tunnel = { fleet, underlay, mtu: 1450 };
const backend: object =
  role === 'host'
    ? openKernelHost(tunnel)
    : await openKernelGateway({ ...tunnel, publicAddress, guestRange: '10.201.0.0/16' });

process.stdout.write('"ready"\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  const method: unknown = Reflect.get(backend, name);
  if (typeof method !== 'function') throw new Error(`there is no ${name}`);
  const answer: unknown = await Reflect.apply(method, backend, args);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}
