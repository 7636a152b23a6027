/**
 * What every switch does, between two hosts, a gateway and a server outside, with real packets: the
 * kernel's own parts, programs, and both in one fleet.
 */
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { vmNumber, vniOf } from '../../../host-agent/net/vni.ts';
import type { OfferedPort } from '../../../host-agent/protocol/gateway-messages.ts';
import { until } from '../local-provider/until.ts';
import {
  GATEWAY,
  GUEST,
  HOSTS,
  OUTSIDE,
  OUTSIDE6,
  type Program,
  PUBLIC,
  PUBLIC6,
  SwitchWorld,
  type Way,
} from './switch-world.ts';

const NUMBER = vmNumber(GUEST);
const FLIPS = 20;

interface Ways {
  readonly gateway: Way;
  readonly hosts: readonly [Way, Way];
}
const FLEETS: readonly (Ways & { readonly name: string })[] = [
  { name: 'the kernel’s parts', gateway: 'kernel', hosts: ['kernel', 'kernel'] },
  { name: 'programs', gateway: 'bpf', hosts: ['bpf', 'bpf'] },
  { name: 'a gateway of programs, one host without', gateway: 'bpf', hosts: ['kernel', 'bpf'] },
  { name: 'one host of programs', gateway: 'kernel', hosts: ['bpf', 'kernel'] },
];

const OFFERED = [
  { protocol: 'tcp', publicPort: 8_300, guestPort: 7_000 },
  { protocol: 'udp', publicPort: 8_301, guestPort: 7_001 },
] as const;

/** Beyond a narrow link. */
const FAR6 = '2001:db8:7::1';
const PING6 = fileURLToPath(new URL('ping6.pl', import.meta.url));
const ping6 = (
  to: string,
  { bytes, tries }: { readonly bytes: number; readonly tries: number },
) => ['perl', PING6, to, String(bytes), String(tries)];
const routeTo = (address: string) => ['ip', '-6', 'route', 'get', address];

let world: SwitchWorld;
let gateway: Program;
let hosts: readonly [Program, Program];
let server: Program;
/** What the gateway is told of the VM each time. */
let ports: readonly OfferedPort[] | undefined;

async function start(ways: Ways): Promise<void> {
  ports = undefined;
  world = await SwitchWorld.create();
  [gateway, server, ...hosts] = await Promise.all([
    world.gateway(ways.gateway),
    world.start('outside', ['talk.ts', 'serve', OUTSIDE]),
    world.host(0, ways.hosts[0]),
    world.host(1, ways.hosts[1]),
  ]);
}
afterEach(() => world?.destroy());

const seatOf = (n: 0 | 1, epoch: number) => ({
  host: HOSTS[n],
  vni: vniOf({ number: NUMBER, epoch }),
});

async function seat(n: 0 | 1, epoch: number, stragglersFrom?: string): Promise<void> {
  const { vni } = seatOf(n, epoch);
  const vm = { guestAddress: GUEST, gateway: GATEWAY, vni, link: `arv${n}`, stragglersFrom };
  await hosts[n].call('ensureVm', vm);
}

async function settle(n: 0 | 1, epoch: number): Promise<void> {
  const vm = { number: NUMBER, guestAddress: GUEST, seat: seatOf(n, epoch), ports };
  await gateway.call('ensureVm', vm);
}

/** In the migration's order; what the source and the gateway count of it must agree. */
async function move(from: 0 | 1, to: 0 | 1, epoch: number): Promise<void> {
  const [old, next] = [seatOf(from, epoch), seatOf(to, epoch + 1)];
  const vm = { number: NUMBER, guestAddress: GUEST, ports };
  await seat(to, epoch + 1, HOSTS[from]);
  await gateway.call('ensureVm', { ...vm, seat: old, previous: next });
  expect(await gateway.call('flip', NUMBER, next)).toBe(true);
  expect(await hosts[from].call('forwardTo', NUMBER, next)).toBe(true);
  await world.moveGuest(to);
  await until('both sides to have counted the same', async () => {
    const [there, here] = await Promise.all([
      gateway.call('traffic', NUMBER, old),
      hosts[from].call('traffic', NUMBER),
    ]);
    const agreed = { toHost: read(here, 'fromGateway'), fromHost: read(here, 'toGateway') };
    return JSON.stringify(agreed) === JSON.stringify(sorted(there)) ? true : undefined;
  });
  await settle(to, epoch + 1);
  await hosts[from].call('removeVm', NUMBER);
}

function read(counts: unknown, name: string): unknown {
  return typeof counts === 'object' && counts !== null ? Reflect.get(counts, name) : undefined;
}

function sorted(counts: unknown) {
  return { toHost: read(counts, 'toHost'), fromHost: read(counts, 'fromHost') };
}

async function guestOnHost0(): Promise<Program> {
  await seat(0, 1);
  await settle(0, 1);
  await world.moveGuest(0);
  return await world.start('guest', ['talk.ts', 'guest', OUTSIDE]);
}

/** The same guest's and another server's, by IPv6. */
async function talkBy6(): Promise<{ readonly guest6: Program; readonly server6: Program }> {
  const server6 = await world.start('outside', ['talk.ts', 'serve', OUTSIDE6]);
  return { server6, guest6: await world.start('guest', ['talk.ts', 'guest', OUTSIDE6]) };
}

describe.each(FLEETS)('$name', (ways) => {
  beforeEach(() => start(ways));

  test(`connections and streams of datagrams live through ${FLIPS} moves there and back, by IPv6 too`, async () => {
    const guest = await guestOnHost0();
    const { guest6 } = await talkBy6();
    for (let n = 0; n < FLIPS; n += 1) await move(n % 2 === 0 ? 0 : 1, n % 2 === 0 ? 1 : 0, n + 1);
    for (const talker of [guest, guest6]) {
      const counts = await talker.ask('stop');
      expect(counts).toMatchObject({ broken: '' });
      expect(read(counts, 'sent')).toBeGreaterThan(FLIPS);
      expect(read(counts, 'echoed')).toBe(read(counts, 'sent'));
      expect(read(counts, 'returned')).toBe(read(counts, 'written'));
    }
  });

  test('a host that the VM has left sends in vain, in its old epoch after a return too', async () => {
    const guest = await guestOnHost0();
    const { guest6, server6 } = await talkBy6();
    const say = (word: string) =>
      Promise.all([guest, guest6].map((talker) => talker.ask(`say ${word}`)));
    await say('at home');
    await move(0, 1, 1);
    // As a host that was cut off: it still believes to hold the VM.
    await seat(0, 1);
    await world.moveGuest(0);
    await say('stale');
    await world.moveGuest(1);
    await say('moved');
    await move(1, 0, 2);
    await seat(0, 1);
    await say('of an old epoch');
    await seat(0, 3);
    await say('back');
    for (const one of [server, server6]) {
      const said = await until('the last word', async () => {
        const words = await one.ask('said');
        return Array.isArray(words) && words.includes('say back') ? words : undefined;
      });
      expect(said).toEqual(['say at home', 'say moved', 'say back']);
    }
  });

  test('IPv6: what is too big is told, both ways; fragments pass; nobody comes in unasked', async () => {
    await guestOnHost0();
    await world.run('guest', ping6(OUTSIDE6, { bytes: 100, tries: 3 }));
    await expect(world.run('outside', ping6(PUBLIC6, { bytes: 100, tries: 1 }))).rejects.toThrow();
    // There in two fragments, back in one piece, until the gateway has told that this is too big.
    await world.run('guest', ping6(OUTSIDE6, { bytes: 1_430, tries: 3 }));
    expect(await world.read('outside', routeTo(PUBLIC6))).toContain('mtu 1450');
    await world.addNarrowLink(FAR6);
    await expect(world.run('guest', ping6(FAR6, { bytes: 1_390, tries: 1 }))).rejects.toThrow();
    expect(await world.read('guest', routeTo(FAR6))).toContain('mtu 1280');
  });

  test('what comes late to the host that the VM has left is sent after it', async () => {
    const guest = await guestOnHost0();
    await seat(1, 2, HOSTS[0]);
    const [old, next] = [seatOf(0, 1), seatOf(1, 2)];
    await gateway.call('ensureVm', {
      number: NUMBER,
      guestAddress: GUEST,
      seat: old,
      previous: next,
    });
    // The gateway is not flipped: every packet is a late one.
    await hosts[0].call('forwardTo', NUMBER, next);
    await world.moveGuest(1);
    await until('packets to be forwarded', async () =>
      Number(read(await hosts[0].call('traffic', NUMBER), 'forwarded')) > 20 ? true : undefined,
    );
    const counts = await guest.ask('stop');
    expect(counts).toMatchObject({ broken: '' });
    expect(read(counts, 'echoed')).toBe(read(counts, 'sent'));
  });

  test('a gateway whose agent is killed passes packets on, and the next one finds all', async () => {
    const guest = await guestOnHost0();
    await gateway.call('ensureVm', {
      number: NUMBER,
      guestAddress: GUEST,
      seat: seatOf(0, 1),
      previous: seatOf(1, 2),
    });
    const before = await gateway.call('list');
    await gateway.end();
    gateway = await world.gateway(ways.gateway);
    expect(await gateway.call('list')).toEqual(before);
    await move(0, 1, 1);
    const counts = await guest.ask('stop');
    expect(counts).toMatchObject({ broken: '' });
    expect(read(counts, 'echoed')).toBe(read(counts, 'sent'));
  });

  test('a host whose agent is killed passes packets on, and told again it counts on', async () => {
    const guest = await guestOnHost0();
    await hosts[0].end();
    hosts = [await world.host(0, ways.hosts[0]), hosts[1]];
    await seat(0, 1);
    await move(0, 1, 1);
    const counts = await guest.ask('stop');
    expect(counts).toMatchObject({ broken: '' });
    expect(read(counts, 'echoed')).toBe(read(counts, 'sent'));
  });

  test('a parked VM gets silence, and goes on where it left off', async () => {
    const guest = await guestOnHost0();
    await gateway.call('ensureVm', { number: NUMBER, guestAddress: GUEST });
    expect(await gateway.call('list')).toEqual([{ number: NUMBER, guestAddress: GUEST }]);
    await hosts[0].call('removeVm', NUMBER);
    await seat(1, 2);
    await settle(1, 2);
    await world.moveGuest(1);
    const counts = await guest.ask('stop');
    expect(counts).toMatchObject({ broken: '' });
    expect(read(counts, 'returned')).toBe(read(counts, 'written'));
  });

  test('an offered port leads to the VM through moves and a restart, until it is taken back', async () => {
    ports = OFFERED;
    await seat(0, 1);
    await settle(0, 1);
    await world.moveGuest(0);
    await world.start('guest', ['talk.ts', 'serve', GUEST]);
    const client = ['talk.ts', 'guest', PUBLIC, ...OFFERED.map((one) => String(one.publicPort))];
    const peer = await world.start('outside', client);
    await move(0, 1, 1);
    await gateway.end();
    gateway = await world.gateway(ways.gateway);
    expect(await gateway.call('list')).toMatchObject([
      { ports: expect.arrayContaining([...OFFERED]) },
    ]);
    await move(1, 0, 2);
    const counts = await peer.ask('stop');
    expect(counts).toMatchObject({ broken: '' });
    expect(read(counts, 'echoed')).toBe(read(counts, 'sent'));
    expect(read(counts, 'returned')).toBe(read(counts, 'written'));
    ports = undefined;
    await settle(0, 3);
    expect(await gateway.call('list')).toEqual([
      { number: NUMBER, guestAddress: GUEST, seat: seatOf(0, 3) },
    ]);
    // No port of anybody's any more, so the gateway itself refuses it.
    await expect(world.start('outside', client)).rejects.toThrow('ECONNREFUSED');
  });

  test('a VM that is removed leaves nothing, and one that is unknown is not flipped', async () => {
    await guestOnHost0();
    await gateway.call('removeVm', NUMBER);
    expect(await gateway.call('list')).toEqual([]);
    expect(await gateway.call('flip', NUMBER, seatOf(1, 2))).toBe(false);
    await hosts[0].call('removeVm', NUMBER);
    expect(await hosts[0].call('traffic', NUMBER)).toBeNull();
  });
});

const SOME_VM = {
  guestAddress: GUEST,
  gateway: GATEWAY,
  vni: vniOf({ number: NUMBER, epoch: 1 }),
  link: 'arv0',
};

async function chosen(program: Program): Promise<unknown> {
  const log = await program.call('log');
  return Array.isArray(log) ? log.map((line) => read(line, 'switch')) : log;
}

test.each([
  ['bpf', 'bpf'],
  ['unloadable', 'kernel'],
] as const)('with programs %s the switch is of the way %s, and says so', async (way, taken) => {
  await start({ gateway: way, hosts: [way, 'kernel'] });
  await hosts[0].call('ensureVm', SOME_VM);
  expect([await chosen(gateway), await chosen(hosts[0])]).toEqual([[taken], [taken]]);
});

test('a switch made of the kernel’s parts stays that when programs can be loaded', async () => {
  await start({ gateway: 'unloadable', hosts: ['kernel', 'kernel'] });
  const guest = await guestOnHost0();
  await gateway.end();
  gateway = await world.gateway('bpf');
  expect(await chosen(gateway)).toEqual(['kernel']);
  const counts = await guest.ask('stop');
  expect(read(counts, 'echoed')).toBe(read(counts, 'sent'));
});

test('where programs hang that cannot be loaded again, nothing takes their place', async () => {
  await start({ gateway: 'bpf', hosts: ['bpf', 'bpf'] });
  const guest = await guestOnHost0();
  await gateway.end();
  await expect(world.gateway('unloadable')).rejects.toThrow('make -C bpf');
  const counts = await guest.ask('stop');
  expect(read(counts, 'echoed')).toBe(read(counts, 'sent'));
});
