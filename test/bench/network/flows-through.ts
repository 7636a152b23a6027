/**
 * One TCP flow at full speed between a guest's namespace and a server outside, by way of a host and a
 * gateway in namespaces of their own, all on this machine's cores: what is compared is what a packet
 * costs on its way.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { vmNumber, vniOf } from '../../../host-agent/net/vni.ts';
import {
  GATEWAY,
  GUEST,
  HOSTS,
  OUTSIDE,
  PUBLIC,
  SwitchWorld,
  type Way,
} from '../../integration/switch/switch-world.ts';

const PORT = 7100;
const ROUND_MS = 2_000;
const LIMIT_MS = 30_000;
const FLOOD = fileURLToPath(new URL('flood.pl', import.meta.url));
const NUMBER = vmNumber(GUEST);

export type Direction = 'to the guest' | 'from the guest';

/** With the guest on host 0. The caller destroys it. */
export async function openSwitched(
  way: Way,
  create: () => Promise<SwitchWorld> = () => SwitchWorld.create(),
): Promise<SwitchWorld> {
  const world = await create();
  try {
    const [gateway, host] = await Promise.all([world.gateway(way), world.host(0, way)]);
    const vni = vniOf({ number: NUMBER, epoch: 1 });
    await host.call('ensureVm', { guestAddress: GUEST, gateway: GATEWAY, vni, link: 'arv0' });
    const seat = { host: HOSTS[0], vni };
    await gateway.call('ensureVm', { number: NUMBER, guestAddress: GUEST, seat });
    await world.moveGuest(0);
    return world;
  } catch (error) {
    await world.destroy();
    throw error;
  }
}

/** The same machines with plain routes between them, and nft's NAT at the gateway. */
export async function openRouted(): Promise<SwitchWorld> {
  const world = await SwitchWorld.create();
  try {
    await Promise.all(
      ['host0', 'gateway'].map((where) =>
        world.run(where, ['sysctl', '-qw', 'net.ipv4.ip_forward=1']),
      ),
    );
    await world.ip('host0', `route add ${GUEST}/32 via 169.254.2.2 dev arv0 onlink`);
    await world.ip('gateway', `route add ${GUEST}/32 via ${HOSTS[0]}`);
    const rules = `table ip nat {
  chain out {
    type nat hook postrouting priority 100
    ip saddr ${GUEST} oifname "out0" snat to ${PUBLIC}
  }
}`;
    await world.run('gateway', ['nft', rules]);
    await world.moveGuest(0);
    return world;
  } catch (error) {
    await world.destroy();
    throw error;
  }
}

/** One round, Gbit/s. */
export async function measureFlow(world: SwitchWorld, direction: Direction): Promise<number> {
  const fromGuest = direction === 'from the guest';
  const run = (where: string, ...args: readonly string[]) =>
    execa('nsenter', [`--net=${world.netnsPath(where)}`, 'perl', FLOOD, ...args], {
      timeout: LIMIT_MS,
    });
  const roleOf = (sends: boolean) => [sends ? 'send' : 'receive', String(ROUND_MS)];
  const server = run('outside', 'listen', OUTSIDE, String(PORT), ...roleOf(!fromGuest));
  const failed = server.then(() => Promise.reject(new Error('the server ended')));
  failed.catch(() => undefined);
  await Promise.race([once(createInterface({ input: server.stdout }), 'line'), failed]);
  const client = run('guest', 'connect', OUTSIDE, String(PORT), ...roleOf(fromGuest));
  const [served, asked] = await Promise.all([server, client]);
  const printed = (fromGuest ? served : asked).stdout.trim().split('\n').at(-1) ?? '';
  const [bytes = 0, seconds = 0] = printed.split(' ').map(Number);
  return (bytes * 8) / seconds / 1e9;
}
