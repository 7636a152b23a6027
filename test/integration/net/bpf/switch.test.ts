/** The whole switch with real traffic: connections outlive moves, stale hosts are not heard. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../../local-provider/until.ts';
import { createEchoingWorld, ECHO_PORT, finishConversation } from './conversation.ts';
import * as packets from './packets.ts';
import {
  FORBIDDEN,
  GUEST,
  NUMBER,
  PEER,
  PUBLIC,
  SERVICE,
  type SwitchWorld,
  seatAt,
  UNDERLAY,
} from './switch-world.ts';

const MOVES = 8;

let world: SwitchWorld;
let epoch = 1;
beforeAll(async () => {
  world = await createEchoingWorld();
});
afterAll(() => world?.destroy());

test('connections out of and into a guest live through moves, without a lost datagram', async () => {
  const outward = await world.start(world.netns.guest, 'converse.ts', PEER, String(ECHO_PORT));
  const inward = await world.start(
    world.netns.peer,
    'converse.ts',
    PUBLIC,
    String(SERVICE.publicPort),
  );
  for (let n = 0; n < MOVES; n += 1) {
    epoch += 1;
    const before = world.gateway.totals(NUMBER)?.inPackets ?? 0;
    await world.move(n % 2 === 0 ? 1 : 0, epoch);
    await until('traffic after the move', () =>
      (world.gateway.totals(NUMBER)?.inPackets ?? 0) > before + 500 ? true : undefined,
    );
  }
  const [out, into] = await Promise.all([finishConversation(outward), finishConversation(inward)]);
  expect(out).toMatchObject({ same: true, lost: 0 });
  expect(into).toMatchObject({ same: true });
  expect(Math.min(out.bytes, into.bytes, out.datagrams)).toBeGreaterThan(0);
  const account = await world.gateway.account?.(NUMBER);
  expect(account?.out.bytes).toBeGreaterThan(out.bytes);
  expect(account?.peers).toEqual([
    { network: PEER.replace(/[0-9]+$/, '0/24'), out: account?.out, in: account?.in },
  ]);
});

test('a connection goes on where it was when its VM’s moves are given up after the flip', async () => {
  const talk = await world.start(world.netns.guest, 'converse.ts', PEER, String(ECHO_PORT));
  for (const attempt of [1, 2, 3]) {
    const before = world.gateway.totals(NUMBER)?.inPackets ?? 0;
    await world.giveUpMove(1, epoch + attempt);
    await until('traffic after it', () =>
      (world.gateway.totals(NUMBER)?.inPackets ?? 0) > before + 500 ? true : undefined,
    );
    expect(await world.gateway.list()).toMatchObject([{ seat: seatAt(0, epoch) }]);
  }
  expect(await finishConversation(talk)).toMatchObject({ same: true });
});

function ask(from: string, address: string, port: number, bytes = 10): Promise<string> {
  return world.run(from, 'ask.ts', address, String(port), String(bytes));
}

test('a guest gets answers, whole or in fragments, and errors; what is forbidden is silent', async () => {
  const { guest, peer } = world.netns;
  expect(await ask(peer, FORBIDDEN, ECHO_PORT)).toBe('answered');
  expect(await ask(guest, PEER, ECHO_PORT)).toBe('answered');
  expect(await ask(guest, PEER, ECHO_PORT, 5_000)).toBe('answered');
  expect(await ask(guest, PEER, ECHO_PORT + 1)).toBe('refused');
  expect(await world.run(guest, 'ping.pl', PEER)).toBe('answered');
  const silent = [FORBIDDEN, UNDERLAY.gateway, UNDERLAY.hosts[0], '169.254.1.1'];
  const outcomes = await Promise.all(silent.map((address) => ask(guest, address, ECHO_PORT)));
  expect(outcomes).toEqual(silent.map(() => 'silent'));
});

test('a peer that nobody asked hears nothing from a port of a slice', async () => {
  expect(await ask(world.netns.peer, PUBLIC, 20_000)).toBe('silent');
  expect(await ask(world.netns.peer, PUBLIC, 33_000)).toBe('refused');
});

test('what a host sends that does not hold the VM, or held it earlier, does not pass', async () => {
  const ports = { sourcePort: 4_000, destinationPort: 4_001 };
  const frame = packets.ethernet(packets.udp({ source: GUEST, destination: PEER }, ports));
  const sent = () => ({
    passed: world.gateway.totals(NUMBER)?.outPackets ?? 0,
    fenced: world.gateway.totals(NUMBER)?.drops.fenced ?? 0,
  });
  const send = async (host: 0 | 1, at: number) => {
    const before = sent();
    const { vni } = seatAt(host, at);
    const args = [UNDERLAY.gateway, String(vni), frame.toString('hex'), '5'];
    await world.run(world.netns[`host${host}`], 'send-tunnelled.ts', ...args);
    return until('five packets', () => {
      const change = {
        passed: sent().passed - before.passed,
        fenced: sent().fenced - before.fenced,
      };
      return change.passed + change.fenced >= 5 ? change : undefined;
    });
  };
  const passed = { passed: 5, fenced: 0 };
  const fenced = { passed: 0, fenced: 5 };
  expect(epoch % 2).toBe(1);
  expect(await send(0, epoch)).toEqual(passed);
  expect(await send(0, epoch - 2)).toEqual(fenced);
  expect(await send(1, epoch - 1)).toEqual(fenced);
  expect(await send(1, epoch)).toEqual(fenced);
});

test('a gateway’s agent that starts again finds its VMs and their connections', async () => {
  const talk = await world.start(world.netns.guest, 'converse.ts', PEER, String(ECHO_PORT));
  const before = await world.gateway.list();
  await world.reopenGateway();
  expect(await world.gateway.list()).toEqual(before);
  expect(before).toMatchObject([{ number: NUMBER, seat: seatAt(0, epoch), ports: [SERVICE] }]);
  expect(await finishConversation(talk)).toMatchObject({ same: true, lost: 0 });
});

test('what a peer’s datagrams miss is what the host says that it dropped', async () => {
  const dropped = async () => (await world.hosts[0].traffic(NUMBER))?.dropped ?? Number.NaN;
  const before = await dropped();
  await world.gateway.flip(NUMBER, seatAt(0, epoch + 1));
  const questions = [1, 2, 3].map(() => ask(world.netns.guest, PEER, ECHO_PORT));
  expect(await Promise.all(questions)).toEqual(['silent', 'silent', 'silent']);
  expect((await dropped()) - before).toBe(3);
  const seat = seatAt(0, epoch);
  await world.gateway.ensureVm({ number: NUMBER, guestAddress: GUEST, seat });
  expect(await ask(world.netns.guest, PEER, ECHO_PORT)).toBe('answered');
});

test('a host’s removed VM is cut off', async () => {
  await world.hosts[0].removeVm(NUMBER);
  expect(await world.hosts[0].traffic(NUMBER)).toBeUndefined();
  expect(await ask(world.netns.guest, PEER, ECHO_PORT)).toBe('silent');
});
