/** The guard, against a guest that has a real tap and may do what it likes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TAP_MAC } from '../../../host-agent/net/guest-policy.ts';
import type { VmNetwork } from '../../../host-agent/vm/vm-driver.ts';
import { until } from '../local-provider/until.ts';
import { createNetWorld, HOST_ADDRESS, type NetWorld, WORLD_ADDRESS } from './net-world.ts';

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

beforeAll(async () => {
  world = await createNetWorld(['198.51.100.9', '10.1.0.9', ...FORBIDDEN]);
  networks = await world.ensure(VMS, '10.1.0.0/16,169.254.0.0/16');
  guest = await world.plugIn(network(0));
  other = await world.plugIn(network(1));
});
afterAll(() => world?.destroy());

function all(targets: readonly string[], outcome: string): Record<string, string> {
  return Object.fromEntries(targets.map((target) => [target, outcome]));
}

test('the test’s world answers on every address, so that silence is the guard’s doing', async () => {
  const reachable = [...OUTSIDE, '10.1.0.9', ...FORBIDDEN];
  expect(await world.probe(world.host, reachable)).toEqual(all(reachable, 'answered'));
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
  const addresses = [HOST_ADDRESS, '169.254.169.254', '169.254.1.1', '169.254.2.1', '169.254.2.2'];
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

/** What the guest sends last arrives after all else that could have. */
async function sendThenMark(from: string, text: string, targets: readonly string[]) {
  await world.send(from, text, targets);
  await world.send(guest, `after ${text}`, ['198.51.100.9']);
  await until('the mark', async () =>
    (await world.arrived(world.world)).includes(`after ${text}`) ? true : undefined,
  );
}

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
  await world.ip(other, 'addr', 'add', `${spoofed}/32`, 'dev', 'eth0');
  await world.ip(other, ...route, spoofed);
  expect(await world.probe(other, OUTSIDE)).toEqual(all(OUTSIDE, 'silent'));
  await sendThenMark(other, 'under another address', OUTSIDE);
  await world.ip(other, 'addr', 'del', `${spoofed}/32`, 'dev', 'eth0');
  await world.ip(other, ...route, own.guestAddress);
  expect(await world.probe(other, OUTSIDE)).toEqual(all(OUTSIDE, 'answered'));
  await world.ip(other, 'link', 'set', 'eth0', 'address', '02:61:72:00:00:77');
  const neighbour = ['neigh', 'replace', gateway, 'lladdr', TAP_MAC, 'dev', 'eth0'];
  await world.ip(other, ...neighbour, 'nud', 'permanent');
  await sendThenMark(other, 'under another MAC', OUTSIDE);
  const arrived = await world.arrived(world.world);
  expect(arrived).not.toContain('under another address');
  expect(arrived).not.toContain('under another MAC');
});
