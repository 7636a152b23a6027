/**
 * A VM moves again and again under many connections, into it and out of it, and a datagram each
 * millisecond each way. A cable that reads the taps as QEMU does is in the place of the VM.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { until } from '../../local-provider/until.ts';
import { createEchoingWorld, ECHO_PORT, finishConversation } from './conversation.ts';
import { NUMBER, PEER, PUBLIC, SERVICE, type SwitchWorld } from './switch-world.ts';

/** `npm run soak -- --flows` wants more. */
const MOVES = z.coerce.number().int().min(1).default(20).parse(process.env.ARCHITECT_TEST_MOVES);
const MANY_MOVES = Math.ceil(MOVES / 2);
const MOVE_LIMIT_MS = 10_000;
const PACKETS_BETWEEN_MOVES = 300;
/** Of the moves, at least, lose nothing. */
const CLEAN_SHARE = 0.99;

let world: SwitchWorld;
let epoch = 1;
beforeAll(async () => {
  world = await createEchoingWorld();
});
afterAll(() => world?.destroy());

async function converse(flows: number) {
  const { guest, peer } = world.netns;
  const [there, here] = [
    [PEER, String(ECHO_PORT)],
    [PUBLIC, String(SERVICE.publicPort)],
  ];
  return await Promise.all([
    world.start(guest, 'converse.ts', ...there, String(flows / 2)),
    world.start(peer, 'converse.ts', ...here, String(flows / 2)),
  ]);
}

/** When each began. */
async function moveAgainAndAgain(moves: number): Promise<readonly number[]> {
  const beganAtMs: number[] = [];
  for (let n = 0; n < moves; n += 1) {
    epoch += 1;
    const before = world.gateway.totals(NUMBER)?.inPackets ?? 0;
    beganAtMs.push(Date.now());
    await world.move(epoch % 2 === 0 ? 1 : 0, epoch);
    await until('traffic after the move', () =>
      (world.gateway.totals(NUMBER)?.inPackets ?? 0) > before + PACKETS_BETWEEN_MOVES
        ? true
        : undefined,
    );
  }
  return beganAtMs;
}

test(
  `100 connections and a datagram each millisecond, through ${MOVES} moves`,
  async () => {
    const [outward, inward] = await converse(100);
    const beganAtMs = await moveAgainAndAgain(MOVES);
    const [out, into] = await Promise.all([
      finishConversation(outward),
      finishConversation(inward),
    ]);
    expect([out.same, into.same]).toEqual([true, true]);
    const lossy = new Set(out.lostAtMs.map((at) => beganAtMs.findLast((began) => began <= at + 1)));
    const clean = 1 - lossy.size / MOVES;
    process.stderr.write(`${out.lost} of ${out.datagrams} datagrams lost in ${lossy.size} moves\n`);
    expect(clean).toBeGreaterThanOrEqual(CLEAN_SHARE);
  },
  MOVES * MOVE_LIMIT_MS,
);

test(
  `1,000 connections, two of them silent, through ${MANY_MOVES} moves`,
  async () => {
    const [outward, inward] = await converse(1_000);
    await moveAgainAndAgain(MANY_MOVES);
    const [out, into] = await Promise.all([
      finishConversation(outward),
      finishConversation(inward),
    ]);
    expect([out.same, into.same]).toEqual([true, true]);
  },
  MOVES * MOVE_LIMIT_MS,
);
