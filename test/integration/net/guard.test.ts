/**
 * The guard, against a guest that has a real tap and may do what it likes: one suite for the nft rules and
 * for the programs, in a VM's namespace.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findProgram } from '../../../host-agent/net/bpf/attachment.ts';
import { TAP_MAC } from '../../../host-agent/net/guest-policy.ts';
import { GUEST_MAC } from '../../../host-agent/protocol/guest-contract.ts';
import type { VmNetwork } from '../../../host-agent/vm/vm-driver.ts';
import { until } from '../local-provider/until.ts';
import { arpRequest, ethernet, ipv4, UDP, udp } from './bpf/packets.ts';
import {
  createNetWorld,
  HOST_ADDRESS,
  type Make,
  type NetWorld,
  WORLD_ADDRESS,
} from './net-world.ts';

const OUTSIDE = ['198.51.100.9', WORLD_ADDRESS];
const FORBIDDEN = [
  '10.0.0.9',
  '10.0.0.53',
  '172.16.0.9',
  '192.168.0.9',
  '100.64.0.9',
  '168.63.129.16',
  '100.100.100.200',
  '192.0.0.192',
  '169.254.170.2',
  '198.18.0.9',
];
const ETHERNET_BYTES = 14;
const HOSTILE = 'hostile';
const TO_GREETER = { sourcePort: 4_000, destinationPort: 8_080 };
/** About four times what may come at once. */
const FLOOD_FRAMES = 400;
const FLOOD = Buffer.alloc(1_300, 'flood ');
const VMS = ['vm-aaaaaaaa', 'vm-bbbbbbbb'];

let world: NetWorld;
let networks: readonly VmNetwork[] = [];
let guest = '';
let other = '';

function network(n: number): VmNetwork {
  const found = networks[n];
  if (found === undefined) throw new Error(`no network ${n}`);
  return found;
}

function all(targets: readonly string[], outcome: string): Record<string, string> {
  return Object.fromEntries(targets.map((target) => [target, outcome]));
}

async function sendFrames(frames: readonly Buffer[], times = 1): Promise<void> {
  const encoded = frames.map((frame) => frame.toString('hex'));
  await world.run(guest, 'send-frames.ts', String(times), ...encoded);
}

/** What the guest sends last arrives after all else that could have. */
async function sendThenMark(from: string, text: string, targets: readonly string[]) {
  await world.send(from, text, targets);
  await world.send(guest, `after ${text}`, ['198.51.100.9']);
  await until('the mark', async () =>
    (await world.arrived(world.world)).includes(`after ${text}`) ? true : undefined,
  );
}

function framed(packet: Buffer, headers: Parameters<typeof ethernet>[1] = {}): Buffer {
  return ethernet(packet, { source: GUEST_MAC, ...headers });
}

function claim(sender: string, target: string): Buffer {
  const body = arpRequest({ senderMac: GUEST_MAC, sender, target }).subarray(ETHERNET_BYTES);
  return framed(body, { destination: 'ff:ff:ff:ff:ff:ff', type: 0x0806 });
}

function plainFrame(source: string, data: Buffer): Buffer {
  return framed(udp({ source, destination: WORLD_ADDRESS }, TO_GREETER, data));
}

function hostileFrames(guests: {
  readonly own: string;
  readonly theirs: string;
}): readonly Buffer[] {
  const { own, theirs } = guests;
  const out = { source: own, destination: WORLD_ADDRESS };
  const data = Buffer.from(HOSTILE);
  const good = udp(out, TO_GREETER, data);
  return [
    framed(good, { source: '02:61:72:00:00:03' }),
    framed(udp({ ...out, source: theirs }, TO_GREETER, data)),
    framed(udp({ ...out, source: '169.254.2.1' }, TO_GREETER, data)),
    framed(udp({ ...out, destination: theirs }, TO_GREETER, data)),
    framed(udp({ ...out, destination: HOST_ADDRESS }, TO_GREETER, data)),
    // Written back as what was left in the tap for a guest that is gone.
    framed(udp({ source: WORLD_ADDRESS, destination: own }, TO_GREETER, data), {
      source: TAP_MAC,
    }),
    framed(Buffer.alloc(60), { type: 0x86dd }),
    framed(Buffer.concat([Buffer.from('00010800', 'hex'), good]), { type: 0x8100 }),
    framed(good).subarray(0, -1),
    framed(Buffer.concat([Buffer.from([0x55]), good.subarray(1)])),
    framed(ipv4(UDP, out, Buffer.alloc(4))),
    framed(ipv4(UDP, { ...out, fragmentOffset: 8 }, good.subarray(20))),
    framed(ipv4(UDP, { ...out, moreFragments: true }, good.subarray(20))),
    framed(ipv4(UDP, { ...out, fragmentOffset: 65_528 }, good.subarray(20))),
  ];
}

const MAKES: readonly { readonly name: string; readonly make?: Make }[] = [
  { name: 'without a gateway' },
  { name: 'to a gateway by the kernel’s parts', make: 'kernel' },
  { name: 'to a gateway by programs', make: 'bpf' },
];

describe.each(MAKES)('$name', ({ make }) => {
  beforeAll(async () => {
    world = await createNetWorld(['198.51.100.9', '10.1.0.9', ...FORBIDDEN], make);
    networks = await world.ensure(VMS, '10.1.0.0/16,169.254.0.0/16');
    guest = await world.plugIn(network(0));
    other = await world.plugIn(network(1));
  });
  afterAll(() => world?.destroy());

  test('the test’s world answers on every address, so that silence is the guard’s doing', async () => {
    const reachable = [...OUTSIDE, '10.1.0.9', ...FORBIDDEN];
    expect(await world.probe(world.host, reachable)).toEqual(all(reachable, 'answered'));
  });

  test('programs hang at the tap where they are to guard it, and else none', async () => {
    const program = await findProgram('tap0', network(0).netnsPath);
    expect(program !== undefined).toBe(make === 'bpf');
  });

  test('a guest reaches the outside and what the operator allowed', async () => {
    expect(await world.probe(guest, [...OUTSIDE, '10.1.0.9'])).toEqual(
      all([...OUTSIDE, '10.1.0.9'], 'answered'),
    );
  });

  test('a guest reaches its resolver on port 53 and on no other', async () => {
    expect(await world.probe(guest, ['10.0.0.53:53', '10.0.0.53'])).toEqual({
      '10.0.0.53:53': 'answered',
      '10.0.0.53': 'silent',
    });
  });

  test('private, metadata and underlay addresses are silent, even where the operator erred', async () => {
    expect(await world.probe(guest, FORBIDDEN)).toEqual(all(FORBIDDEN, 'silent'));
  });

  test('the host is silent on all its addresses, its metadata service among them', async () => {
    const addresses = [
      HOST_ADDRESS,
      '169.254.169.254',
      '169.254.1.1',
      '169.254.2.1',
      '169.254.2.2',
    ];
    expect(await world.probe(guest, addresses)).toEqual(all(addresses, 'silent'));
  });

  test('guests are silent to each other and to the outside', async () => {
    const targets = [network(1).guestAddress];
    expect(await world.probe(guest, targets)).toEqual(all(targets, 'silent'));
    expect(await world.probe(world.world, targets)).toEqual(all(targets, 'silent'));
  });

  test('a port that nobody listens on is refused by the world, not by the guard', async () => {
    expect(await world.probe(guest, ['198.51.100.9:9999', '10.0.0.9:9999'])).toEqual({
      '198.51.100.9:9999': 'refused',
      '10.0.0.9:9999': 'silent',
    });
  });

  test('a destination without a route is silent too: nothing here says "unreachable"', async () => {
    await world.ip(world.host, 'route', 'add', 'unreachable', '198.51.100.77/32');
    expect(await world.probe(guest, ['198.51.100.77'])).toEqual({ '198.51.100.77': 'silent' });
  });

  test('not even one-way packets get to the host or to another guest', async () => {
    const targets = [HOST_ADDRESS, '169.254.169.254', '169.254.2.1', network(1).guestAddress];
    await sendThenMark(guest, 'one way', [...targets, ...FORBIDDEN]);
    expect(await world.arrived(world.host)).not.toContain('one way');
    expect(await world.arrived(world.world)).not.toContain('one way');
    expect(await world.arrived(other)).not.toContain('one way');
  });

  test('a guest under another address or another MAC is silent', async () => {
    const own = network(1);
    const { gateway } = own;
    const spoofed = network(0).guestAddress;
    const route = ['route', 'replace', 'default', 'via', gateway, 'dev', 'eth0', 'src'];
    const neighbour = ['neigh', 'replace', gateway, 'lladdr', TAP_MAC, 'dev', 'eth0'];
    await world.ip(other, ...neighbour, 'nud', 'permanent');
    await world.ip(other, 'addr', 'add', `${spoofed}/32`, 'dev', 'eth0');
    await world.ip(other, ...route, spoofed);
    expect(await world.probe(other, OUTSIDE)).toEqual(all(OUTSIDE, 'silent'));
    await sendThenMark(other, 'under another address', OUTSIDE);
    await world.ip(other, 'addr', 'del', `${spoofed}/32`, 'dev', 'eth0');
    await world.ip(other, ...route, own.guestAddress);
    expect(await world.probe(other, OUTSIDE)).toEqual(all(OUTSIDE, 'answered'));
    await world.ip(other, 'link', 'set', 'eth0', 'address', '02:61:72:00:00:77');
    await sendThenMark(other, 'under another MAC', OUTSIDE);
    await world.ip(other, 'link', 'set', 'eth0', 'address', GUEST_MAC);
    const arrived = await world.arrived(world.world);
    expect(arrived).not.toContain('under another address');
    expect(arrived).not.toContain('under another MAC');
  });

  test('frames that no honest guest sends arrive nowhere, and its own do after them', async () => {
    const { guestAddress: own } = network(0);
    const frames = hostileFrames({ own, theirs: network(1).guestAddress });
    await sendFrames([...frames, plainFrame(own, Buffer.from('a plain frame'))]);
    await sendThenMark(guest, 'honest', OUTSIDE);
    expect(await world.arrived(world.world)).toContain('a plain frame');
    for (const netns of [world.world, world.host, other]) {
      expect(await world.arrived(netns)).not.toContain(HOSTILE);
    }
  });

  test('what a guest claims by ARP changes nobody’s way', async () => {
    const { guestAddress: theirs } = network(1);
    const { gateway } = network(0);
    const claims = [theirs, gateway, '169.254.2.1', network(0).guestAddress].flatMap((sender) => [
      claim(sender, gateway),
      claim(sender, sender),
    ]);
    await sendFrames(claims);
    await world.ip(guest, 'neigh', 'flush', 'dev', 'eth0');
    for (const netns of [guest, other]) {
      expect(await world.probe(netns, OUTSIDE)).toEqual(all(OUTSIDE, 'answered'));
    }
  });

  test('a flood is held to the guest’s rate, and then the guest goes on', async () => {
    await sendFrames([plainFrame(network(0).guestAddress, FLOOD)], FLOOD_FRAMES);
    await until('the guest to be heard again', async () => {
      await world.send(guest, 'after the flood', [WORLD_ADDRESS]);
      return (await world.arrived(world.world)).includes('after the flood') ? true : undefined;
    });
    const passed = (await world.arrived(world.world)).filter((text) => text === FLOOD.toString());
    expect(passed.length).toBeGreaterThan(0);
    expect(passed.length).toBeLessThan(FLOOD_FRAMES / 2);
  });
});
