/** Making, finding again and removing VM networks; every call is by an agent that just started. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { vmNumber } from '../../../host-agent/net/vni.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import { createNetWorld, type NetWorld } from './net-world.ts';

let world: NetWorld;
beforeAll(async () => {
  world = await createNetWorld(['198.51.100.9']);
});
afterAll(() => world?.destroy());

test('VMs that start together get networks of their own, a restarted agent the same again', async () => {
  const vmIds = ['vm-00000001', 'vm-00000002', 'vm-00000003'];
  const made = await world.ensure(vmIds);
  expect(new Set(made.map(({ guestAddress }) => guestAddress)).size).toBe(3);
  expect(made.map(({ netnsPath }) => existsSync(netnsPath))).toEqual([true, true, true]);
  expect(made[0]).toMatchObject({ gateway: '169.254.1.1', tapName: 'tap0', mtu: 1450 });
  expect(await world.ensure(vmIds)).toEqual(made);
});

test('the tap is QEMU’s user’s, with the fixed MAC and a long queue', async () => {
  await world.ensure(['vm-00000001']);
  const text = await world.ip(`ar-${world.fleet}-vm-00000001.t`, '-d', 'link', 'show', 'tap0');
  expect(text).toContain(`user ${qemuUser('vm-00000001')}`);
  expect(text).toContain('02:61:72:00:00:01');
  expect(text).toContain('qlen 10000');
});

test('an agent that finds a network half-made finishes it', async () => {
  const [made] = await world.ensure(['vm-00000004']);
  if (made === undefined) throw new Error('no network');
  await world.ip(`ar-${world.fleet}-vm-00000004.t`, 'link', 'del', 'tap0');
  expect(await world.ensure(['vm-00000004'])).toEqual([made]);
  const guest = await world.plugIn(made);
  expect(await world.probe(guest, ['198.51.100.9'])).toEqual({ '198.51.100.9': 'answered' });
});

test('a network whose namespace went is made anew, at the same address', async () => {
  const [made] = await world.ensure(['vm-00000005']);
  await world.ip(world.host, 'netns', 'del', `ar-${world.fleet}-vm-00000005.t`);
  expect(await world.ensure(['vm-00000005'])).toEqual([made]);
});

test('what no VM wants is removed, the rest stays', async () => {
  await world.ensure(['vm-00000006', 'vm-00000007']);
  expect(await world.retain(['vm-00000006'])).toEqual(['vm-00000006']);
  expect(existsSync(`/run/netns/ar-${world.fleet}-vm-00000006.t`)).toBe(true);
  expect(existsSync(`/run/netns/ar-${world.fleet}-vm-00000007.t`)).toBe(false);
  expect(await world.ip(world.host, 'link', 'show')).toContain('vm-00000006.t ');
  expect(await world.ip(world.host, 'link', 'show')).not.toContain('vm-00000007.t ');
});

test('a gateway that stands in has the VMs that are here and those that come, after a restart too', async () => {
  await world.retain([]);
  const [here, later] = ['10.201.7.7', '10.201.7.8'];
  expect(await world.askHost('turn', 'vm-00000008', 'vm-00000009')).toEqual([
    { guestAddress: here, gateway: '100.64.0.1' },
    { number: vmNumber(here), gateway: '100.64.0.2' },
    { guestAddress: later, gateway: '100.64.0.2' },
    { guestAddress: here, gateway: '100.64.0.2' },
  ]);
  expect(await world.askHost('found')).toEqual(
    [here, later].map((guestAddress) => ({ guestAddress, gateway: '100.64.0.2' })),
  );
});
