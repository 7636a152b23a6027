/**
 * A switch in the namespace that this runs in: `switch-program.ts ROLE WAY FLEET UNDERLAY MTU [PUBLIC PREFIX6]`.
 * WAY is `kernel`; `bpf`, as chosen where programs can be loaded; or `unloadable`, as chosen where
 * they cannot. Takes one JSON array per line, a method's name and its arguments, and prints one JSON
 * value per line; `["log"]` gives what was logged.
 */
import { createInterface } from 'node:readline';
import pino from 'pino';
import { openKernelGateway } from '../../../host-agent/net/kernel/gateway-switch.ts';
import { openKernelHost } from '../../../host-agent/net/kernel/host-switch.ts';
import { openGatewaySwitch, openHostSwitch } from '../../../host-agent/net/open-switch.ts';

const [role, way, fleet = '', underlay = '', mtu, publicAddress = '', prefix6] =
  process.argv.slice(2);
const log: unknown[] = [];
const logger = pino({}, { write: (line) => void log.push(JSON.parse(line)) });
const objects = way === 'unloadable' ? '/nonexistent' : undefined;
const host = { fleet, underlay, mtu: Number(mtu), logger, objects };
const gateway = { ...host, publicAddress, prefix6, guestRange: '10.201.0.0/16' };

async function open(): Promise<object> {
  if (role === 'host') return way === 'kernel' ? openKernelHost(host) : openHostSwitch(host);
  return way === 'kernel' ? await openKernelGateway(gateway) : await openGatewaySwitch(gateway);
}

const backend = { ...(await open()), log: () => log };
process.stdout.write('"ready"\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  const method: unknown = Reflect.get(backend, name);
  if (typeof method !== 'function') throw new Error(`there is no ${name}`);
  const answer: unknown = await Reflect.apply(method, backend, args);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}
