import { expect, test } from 'vitest';
import { planConfiguration, planLinkGuard, wireguardLink } from './plan-wireguard.ts';

const PEER = {
  publicKey: `${'A'.repeat(43)}=`,
  endpoint: '10.0.0.7',
  address: '198.19.0.7',
  keepAlive: false,
};

test('a peer may send from its own address only', () => {
  const gateway = { ...PEER, address: '198.19.0.1', keepAlive: true };
  const text = planConfiguration({ privateKey: 'secret', port: 51_820, peers: [PEER, gateway] });
  expect(text.match(/AllowedIPs = .*/g)).toEqual([
    'AllowedIPs = 198.19.0.7/32',
    'AllowedIPs = 198.19.0.1/32',
  ]);
  expect(text.match(/PersistentKeepalive = .*/g)).toEqual([
    'PersistentKeepalive = off',
    'PersistentKeepalive = 25',
  ]);
  expect(text).toContain('Endpoint = 10.0.0.7:51820');
});

test('tunnel packets pass by the link alone, in and out', () => {
  const guard = planLinkGuard({ fleet: 'f', link: 'arwx', range: '198.19.0.0/16' });
  expect(guard.match(/udp dport 4789 drop/g)).toHaveLength(2);
  expect(guard).toContain('iifname { "lo", "arwx" } accept');
  expect(guard).toContain('oifname { "lo", "arwx" } accept');
});

test('a link’s name fits the kernel and differs between hosts of one machine', () => {
  expect(wireguardLink('ab12cd')).toHaveLength(15);
  expect(wireguardLink('ab12cd')).not.toBe(wireguardLink('ab12ce'));
});
