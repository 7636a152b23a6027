/**
 * WireGuard under the tunnel: what a stranger on the wire forges reaches no guest, as it does without;
 * connections outlive moves and the death of wireguard-go; a node that was taken out is not heard.
 */
import { execa } from 'execa';
import { afterEach, expect, test } from 'vitest';
import { vmNumber, vniOf } from '../../../host-agent/net/vni.ts';
import { readStartTicks } from '../../../host-agent/vm/launch.ts';
import { until } from '../local-provider/until.ts';
import * as packets from '../net/bpf/packets.ts';
import {
  GATEWAY,
  GUEST,
  HOSTS,
  OUTSIDE,
  type Program,
  type SwitchWorld,
  type Way,
} from './switch-world.ts';
import { BareWorld, OUTER, WireguardWorld } from './wireguard-world.ts';

const NUMBER = vmNumber(GUEST);
const SENDER = new URL('../net/bpf/send-tunnelled.ts', import.meta.url).pathname;
/** Of the tunnel's device on host 0 (tunnel.ts). */
const HOST_MAC = '02:61:64:64:00:02';
const UDP_PORT = 7_001;

let world: SwitchWorld | undefined;
afterEach(() => world?.destroy());

interface Nodes {
  readonly gateway: Program;
  readonly hosts: readonly [Program, Program];
}

async function open<W extends SwitchWorld>(opened: W, way: Way): Promise<Nodes> {
  world = opened;
  const [gateway, ...hosts] = await Promise.all([
    opened.gateway(way),
    opened.host(0, way),
    opened.host(1, way),
  ]);
  await seat(hosts[0], 0, 1);
  await gateway.call('ensureVm', vmAt(0, 1));
  await opened.moveGuest(0);
  return { gateway, hosts };
}

function seatOf(n: 0 | 1, epoch: number) {
  return { host: HOSTS[n], vni: vniOf({ number: NUMBER, epoch }) };
}

function vmAt(n: 0 | 1, epoch: number) {
  return { number: NUMBER, guestAddress: GUEST, seat: seatOf(n, epoch) };
}

async function seat(host: Program, n: 0 | 1, epoch: number): Promise<void> {
  const { vni } = seatOf(n, epoch);
  const from = epoch > 1 ? { stragglersFrom: HOSTS[n === 0 ? 1 : 0] } : {};
  await host.call('ensureVm', {
    guestAddress: GUEST,
    gateway: GATEWAY,
    vni,
    link: `arv${n}`,
    ...from,
  });
}

/** A datagram for the guest in a tunnel packet for host 0, of its VM's number and epoch. */
function tunnelled(word: string): readonly string[] {
  const ports = { sourcePort: UDP_PORT, destinationPort: UDP_PORT };
  const ip = packets.udp({ source: OUTSIDE, destination: GUEST }, ports, Buffer.from(word));
  const frame = packets.ethernet(ip, { destination: HOST_MAC }).toString('hex');
  return [String(seatOf(0, 1).vni), frame, '3'];
}

async function send(on: SwitchWorld, from: string, word: string, to: string, source: string) {
  await on.run(from, [process.execPath, SENDER, to, ...tunnelled(word), source]);
}

/** From the stranger, under addresses that are the gateway's. */
async function forge(on: SwitchWorld, word: string, to: string, sources: readonly string[]) {
  // So that it is nobody's but the guard's merit where they do not arrive.
  for (const one of ['all', 'default', 'eth0'])
    await on.run('host0', ['sysctl', '-qw', `net.ipv4.conf.${one}.rp_filter=0`]);
  for (const source of sources) {
    await on.ip('stranger', `addr replace ${source}/32 dev eth0`);
    await send(on, 'stranger', word, to, source);
  }
}

async function untilSaid(guest: Program, word: string): Promise<ReadonlySet<unknown>> {
  return await until(word, async () => {
    const said = await guest.ask('said');
    return Array.isArray(said) && said.includes(word) ? new Set(said) : undefined;
  });
}

test.each(['bpf', 'kernel'] as const)(
  'on a bare underlay a forged tunnel packet reaches the guest (%s)',
  async (way) => {
    const bare = await BareWorld.open();
    await open(bare, way);
    const guest = await bare.start('guest', ['talk.ts', 'serve', GUEST]);
    await forge(bare, 'say forged', HOSTS[0], [GATEWAY]);
    await untilSaid(guest, 'say forged');
  },
);

test.each(['bpf', 'kernel'] as const)(
  'over WireGuard it does not, whatever address it is from (%s)',
  async (way) => {
    const sealed = await WireguardWorld.open();
    await open(sealed, way);
    const guest = await sealed.start('guest', ['talk.ts', 'serve', GUEST]);
    await forge(sealed, 'say forged', OUTER.host0, [GATEWAY, OUTER.gateway]);
    await send(sealed, 'gateway', 'say true', HOSTS[0], GATEWAY);
    expect(await untilSaid(guest, 'say true')).toEqual(new Set(['say true']));
  },
);

test('a connection lives through moves and through the death of wireguard-go on either side', async () => {
  const sealed = await WireguardWorld.open();
  const { gateway, hosts } = await open(sealed, 'bpf');
  await sealed.start('outside', ['talk.ts', 'serve', OUTSIDE]);
  const guest = await sealed.start('guest', ['talk.ts', 'guest', OUTSIDE]);
  await move(sealed, { gateway, hosts }, { from: 0, to: 1, epoch: 2 });
  await move(sealed, { gateway, hosts }, { from: 1, to: 0, epoch: 3 });
  for (const node of ['host0', 'gateway'] as const) {
    const before = await sealed.processOf(node);
    process.kill(before ?? Number.NaN, 'SIGKILL');
    await until('another process', async () => {
      const now = await sealed.processOf(node);
      return now === undefined || now === before ? undefined : true;
    });
    const heard = await packetsFrom(gateway, seatOf(0, 3));
    await until('traffic after it', async () =>
      (await packetsFrom(gateway, seatOf(0, 3))) > heard + 200 ? true : undefined,
    );
  }
  expect(await guest.ask('stop')).toMatchObject({ broken: '' });
});

async function move(
  on: SwitchWorld,
  { gateway, hosts }: Nodes,
  { from, to, epoch }: { readonly from: 0 | 1; readonly to: 0 | 1; readonly epoch: number },
): Promise<void> {
  await seat(hosts[to], to, epoch);
  const next = seatOf(to, epoch);
  await gateway.call('ensureVm', { ...vmAt(from, epoch - 1), previous: next });
  expect(await gateway.call('flip', NUMBER, next)).toBe(true);
  expect(await hosts[from].call('forwardTo', NUMBER, next)).toBe(true);
  await on.moveGuest(to);
  await until('the guest to be heard from there', async () =>
    (await packetsFrom(gateway, next)) > 0 ? true : undefined,
  );
  await gateway.call('ensureVm', vmAt(to, epoch));
  await hosts[from].call('removeVm', NUMBER);
}

async function packetsFrom(gateway: Program, seatThere: unknown): Promise<number> {
  const counts = await gateway.call('traffic', NUMBER, seatThere);
  return typeof counts === 'object' && counts !== null
    ? Number(Reflect.get(counts, 'fromHost'))
    : 0;
}

test('a host that was taken out is not heard, and one that leaves takes its link along', async () => {
  const sealed = await WireguardWorld.open();
  await open(sealed, 'bpf');
  const server = await sealed.start('outside', ['talk.ts', 'serve', OUTSIDE]);
  const guest = await sealed.start('guest', ['talk.ts', 'guest', OUTSIDE]);
  await guest.ask('say before');
  await untilSaid(server, 'say before');
  await sealed.connect('gateway', ['host1']);
  await guest.ask('say taken out');
  await sealed.connect('gateway', ['host0', 'host1']);
  await until('the guest to be heard again', async () => {
    await guest.ask('say back');
    const said = await server.ask('said');
    return Array.isArray(said) && said.includes('say back') ? true : undefined;
  });
  expect(await untilSaid(server, 'say back')).toEqual(new Set(['say before', 'say back']));
  const wireguardGo = await sealed.processOf('host0');
  await sealed.leave('host0');
  expect(await readStartTicks(wireguardGo ?? Number.NaN)).toBeUndefined();
  const listed = ['-n', `ar-${sealed.fleet}-host0`, 'link', 'show', sealed.linkOf('host0')];
  expect((await execa('ip', listed, { reject: false })).failed).toBe(true);
});
