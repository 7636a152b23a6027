import { expect, test } from 'vitest';
import { planGuard, planGuardAnew } from './guest-policy.ts';

const policy = {
  guestMac: '02:61:72:00:00:02',
  guestAddress: '10.201.0.7',
  dns: ['10.0.0.53'],
  allow: ['10.1.0.0/16'],
  deny: ['203.0.113.0/24'],
};

test('metadata is denied before anything the operator allows, resolvers come first', () => {
  const guard = planGuard(policy);
  const order = [
    'ip daddr 10.0.0.53',
    'ip daddr @never drop',
    'ip daddr 10.1.0.0/16 accept',
    'ip daddr @private drop',
  ];
  const places = order.map((rule) => guard.indexOf(rule));
  expect(places).not.toContain(-1);
  expect(places).toEqual([...places].sort((a, b) => a - b));
});

test('a guard that is there is replaced, not added to', () => {
  const anew = planGuardAnew(policy);
  expect(anew.endsWith(planGuard(policy))).toBe(true);
  expect(anew.match(/^delete table (netdev|inet|arp) guard$/gm)).toHaveLength(2);
});

test('without a gateway only replies come in; with one, it has seen to that', () => {
  const inwards = (policyOf: Parameters<typeof planGuard>[0]) =>
    planGuard(policyOf)
      .split('\n')
      .find((line) => line.includes('iifname "up0"'));
  expect(inwards(policy)).toContain('ct state established,related accept');
  expect(inwards({ ...policy, hasGateway: true })).not.toContain('ct state');
});

test('the guest API is one port of one address, between the tap and its own guest', () => {
  const lines = planGuard(policy)
    .split('\n')
    .filter((line) => line.includes('169.254.1.1') && !line.includes('arp'))
    .map((line) => line.trim());
  expect(lines).toEqual([
    'iifname "tap0" ip saddr 10.201.0.7 ip daddr 169.254.1.1 tcp dport 8042 accept',
    'oifname "tap0" ip saddr 169.254.1.1 ip daddr 10.201.0.7 tcp sport 8042 accept',
  ]);
});

test('nothing is ever rejected', () => {
  expect(planGuard(policy)).not.toContain('reject');
});

test.each([
  '169.254.0.0/16',
  '168.63.129.16/32',
  '100.100.100.200/32',
  '192.0.0.0/24',
  '203.0.113.0/24',
])('%s is denied for good', (prefix) => {
  const never =
    planGuard(policy)
      .split('\n')
      .find((line) => line.includes('set never')) ?? '';
  expect(never).toContain(prefix);
});
