/**
 * IPv6 of a guest that has a real tap: dressed as the agent dresses it, through the guard of its VM's
 * namespace; and what a hostile one does not reach.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { guestAddress6 } from '../../../host-agent/net/guest-ipv6.ts';
import { TAP_MAC } from '../../../host-agent/net/guest-policy.ts';
import { until } from '../local-provider/until.ts';
import { GuestWorld } from './guest-world.ts';
import { GUEST, OUTSIDE6, type Program, PUBLIC6 } from './switch-world.ts';

const INSIDE = guestAddress6(GUEST);
const ALLOWED = 'fd12::7';
/** `vm-program.ts` denies the last. */
const FORBIDDEN = [
  ...['fd00:ec2::254', 'fd20:ce::254', 'fd99::1', '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1'],
  ...['fd61:7200::1', '2001:db8:66::1'],
];

let world: GuestWorld;
let server: Program;
beforeAll(async () => {
  world = await GuestWorld.open([ALLOWED, ...FORBIDDEN]);
  server = await world.start('outside', ['talk.ts', 'serve', '::']);
});
afterAll(() => world?.destroy());

/** What has arrived when the last word has, which nothing that was sent before it follows. */
async function arrived(lastWord: string): Promise<readonly string[]> {
  return await until(lastWord, async () => {
    const words = await server.ask('said');
    return Array.isArray(words) && words.includes(`say ${lastWord}`) ? words : undefined;
  });
}

test('a guest asks for its default route, and its connections and datagrams come back', async () => {
  const guest = await world.start('inner', ['talk.ts', 'guest', OUTSIDE6]);
  await until('a few echoes', async () => {
    const neighbours = await world.read('inner', ['ip', '-6', 'neigh', 'show', 'dev', 'eth0']);
    return neighbours.includes(`fe80::1 lladdr ${TAP_MAC} router`) || undefined;
  });
  const counts = await guest.ask('stop');
  expect(counts).toMatchObject({ broken: '', sent: expect.any(Number) });
  expect(Reflect.get(Object(counts), 'echoed')).toBe(Reflect.get(Object(counts), 'sent'));
  expect(Reflect.get(Object(counts), 'returned')).toBe(Reflect.get(Object(counts), 'written'));
});

test('private, metadata, translated and denied addresses are silent', async () => {
  const targets = [...FORBIDDEN, ALLOWED, OUTSIDE6];
  await world.say('gateway', 'sanity', { targets });
  expect(await arrived(`sanity ${OUTSIDE6}`)).toEqual(
    expect.arrayContaining(targets.map((to) => `say sanity ${to}`)),
  );
  await world.say('inner', 'guest', { targets });
  const words = await arrived(`guest ${OUTSIDE6}`);
  expect(words.filter((word) => word.startsWith('say guest'))).toEqual([
    `say guest ${ALLOWED}`,
    `say guest ${OUTSIDE6}`,
  ]);
});

test('a guest under another address is silent, and unknown at the gateway’s own', async () => {
  const other = 'fd61:7200::10.201.0.6';
  await world.ip('inner', `addr add ${other}/128 dev eth0 nodad`);
  await world.say('inner', 'spoofed', { from: other, targets: [OUTSIDE6] });
  await world.say('inner', 'own', { from: INSIDE, targets: [PUBLIC6, '2001:db8:9::1', OUTSIDE6] });
  const words = await arrived(`own ${OUTSIDE6}`);
  expect(words.filter((word) => /spoofed|own/.test(word))).toEqual([`say own ${OUTSIDE6}`]);
});
