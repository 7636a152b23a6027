import { expect, test } from 'vitest';
import { guestMtu, hostLinkName, parseLinkAlias, planHostSide } from './vm-link-plan.ts';

const host = { fleet: 'main', tag: 'a1b2c3' };
const link = { ...host, vmId: 'vm-1a2b3c4d', guestAddress: '10.201.0.1', mtu: 1450 };

test('a link’s alias names its VM and address again', () => {
  const alias = /alias "([^"]+)"/.exec(planHostSide(link))?.[1] ?? '';
  expect(parseLinkAlias(host, alias)).toEqual({
    vmId: 'vm-1a2b3c4d',
    guestAddress: '10.201.0.1',
  });
  expect(parseLinkAlias({ ...host, fleet: 'mai' }, alias)).toBeUndefined();
  expect(parseLinkAlias({ ...host, tag: 'd4e5f6' }, alias)).toBeUndefined();
  expect(parseLinkAlias(host, 'someone else')).toBeUndefined();
});

test('the alias of a VM with a gateway names that, too', () => {
  const alias = /alias "([^"]+)"/.exec(planHostSide({ ...link, gateway: '100.64.1.2' }))?.[1] ?? '';
  expect(parseLinkAlias(host, alias)?.gateway).toBe('100.64.1.2');
});

test('link names fit the kernel and differ', () => {
  const names = [...Array(1000).keys()].map((n) =>
    hostLinkName({ fleet: 'twelveletter', vmId: `vm-${n}`, tag: 'a1b2c3' }),
  );
  expect(new Set(names).size).toBe(1000);
  expect(names.every((name) => name.length <= 15)).toBe(true);
});

test('the guest’s MTU leaves room for the overlay', () => {
  expect(guestMtu(1500)).toBe(1450);
  expect(guestMtu(1300)).toBe(1280);
});
