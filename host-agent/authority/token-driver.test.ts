import pino from 'pino';
import { expect, test } from 'vitest';
import type { TokenEntry } from '../journal/token.ts';
import { HostId, MigrationId } from '../protocol/ids.ts';
import type { PeerMove, TokenMessage } from '../protocol/token-messages.ts';
import { recoverToken } from './recover-token.ts';
import { MAX_QUEUED_EVENTS, TokenDriver, TokenQueueFullError } from './token-driver.ts';

const a = HostId.parse('a');
const b = HostId.parse('b');
const migrationId = MigrationId.parse('m1');
const toB: PeerMove = { migrationId, epoch: 2, hostId: b };
const toA: PeerMove = { ...toB, hostId: a };
const move = { migrationId, epoch: 2 };

/** Notes what happens, in its order; writes fail as often as told, removals as well. */
class Bench {
  readonly log: string[] = [];
  failWrites = 0;
  failRemovals = 0;
  /** QEMU ended before it was told to run. */
  isDead = false;
  nowMs = 0;
  readonly around = {
    logger: pino({ enabled: false }),
    clocks: () => ({ wallMs: this.nowMs, monotonicMs: this.nowMs }),
    pause: async (attempt: number) => {
      this.log.push(`pause ${attempt}`);
    },
    ports: {
      journal: async ({ holder, epoch }: TokenEntry) => {
        this.log.push(`journal ${holder.kind} ${epoch}`);
        await Promise.resolve();
        if (this.failWrites === 0) return;
        this.failWrites -= 1;
        throw new Error('no space');
      },
      send: (to: HostId, message: TokenMessage) => {
        this.log.push(`${message.kind} to ${to}`);
      },
      askArbiter: () => {
        this.log.push('ask');
      },
      resume: async () => {
        this.log.push('resume');
      },
      hasEnded: async () => this.isDead,
      halt: async () => {
        this.log.push('halt');
      },
      fence: async () => {
        this.log.push('fence');
      },
      remove: async () => {
        this.log.push('remove');
        if (this.failRemovals === 0) return;
        this.failRemovals -= 1;
        throw new Error('busy');
      },
    },
  };

  source(untilMs: number | null = null): TokenDriver {
    const lease = untilMs === null ? null : { untilMs };
    const tenure = { epoch: 1, from: null, lease };
    return TokenDriver.holding({ kind: 'holding', tenure }, this.around);
  }

  taken(): readonly string[] {
    return this.log.splice(0);
  }
}

async function givenAway(bench: Bench): Promise<TokenDriver> {
  const source = bench.source();
  await source.call({ kind: 'freeze', move: toB });
  await source.call({ kind: 'hand-over' });
  return source;
}

test('a source gives when that is on disk, and lets go when the target has received', async () => {
  const bench = new Bench();
  const source = await givenAway(bench);
  expect(bench.taken()).toEqual(['journal given 2', 'give to b']);
  expect(source.mayRun).toBe(false);
  await source.hear(b, { kind: 'received', move });
  expect(bench.taken()).toEqual(['fence', 'remove', 'released to b']);
});

test('a source whose journal fails takes the token back, and resumes when that is on disk', async () => {
  const bench = new Bench();
  bench.failWrites = 2;
  const source = await givenAway(bench);
  expect(bench.taken()).toEqual([
    'journal given 2',
    'pause 1',
    'journal self 2',
    'pause 2',
    'journal self 2',
    'resume',
  ]);
  expect(source.mayRun).toBe(true);
});

test('a target reserves, receives, runs, and becomes the holder', async () => {
  const bench = new Bench();
  const { driver: target, outcome } = TokenDriver.reserving(toA, bench.around);
  expect(await outcome).toMatchObject({ state: { kind: 'reserved' } });
  await target.call({ kind: 'loaded' });
  expect(target.mayRun).toBe(false);
  await target.hear(a, { kind: 'give', move, lease: null });
  await target.hear(a, { kind: 'give', move, lease: null });
  expect(bench.taken()).toEqual([
    'journal reserved 2',
    'journal self 2',
    'resume',
    'received to a',
    'received to a',
  ]);
  expect(target.mayRun).toBe(true);
  expect(await target.call({ kind: 'freeze', move: { ...toB, epoch: 3 } })).toMatchObject({
    kind: 'refused',
  });
  await target.hear(a, { kind: 'released', move });
  expect(await target.word()).toEqual({ kind: 'holds', epoch: 2, from: null, lease: null });
});

test('a target that cannot journal what it received refuses, for good', async () => {
  const bench = new Bench();
  const { driver: target, outcome } = TokenDriver.reserving(toA, bench.around);
  expect(await outcome).toMatchObject({ state: { kind: 'reserved' } });
  await target.call({ kind: 'loaded' });
  bench.taken();
  bench.failWrites = 1;
  await target.hear(a, { kind: 'give', move, lease: null });
  await target.hear(a, { kind: 'give', move, lease: null });
  expect(bench.taken()).toEqual([
    'journal self 2',
    'pause 1',
    'journal refused 2',
    'refused to a',
    'refused to a',
  ]);
});

test('a target whose QEMU ended before it ran gives the token back, and never says received', async () => {
  const bench = new Bench();
  const { driver: target, outcome } = TokenDriver.reserving(toA, bench.around);
  expect(await outcome).toMatchObject({ state: { kind: 'reserved' } });
  await target.call({ kind: 'loaded' });
  bench.taken();
  bench.isDead = true;
  const give = { kind: 'give', move, lease: null } as const;
  await Promise.all([target.hear(a, give), target.hear(a, give)]);
  expect(bench.taken()).toEqual([
    'journal self 2',
    'journal refused 2',
    'refused to a',
    'refused to a',
  ]);
  expect(await target.word()).toMatchObject({ kind: 'refused' });
});

test('a target does not run under a lease that has lapsed on the way', async () => {
  const bench = new Bench();
  const { driver: target, outcome } = TokenDriver.reserving(toA, bench.around);
  await outcome;
  await target.call({ kind: 'loaded' });
  bench.taken();
  bench.nowMs = 31;
  await target.hear(a, { kind: 'give', move, lease: { untilMs: 30 } });
  expect(bench.taken()).toEqual(['journal self 2', 'received to a']);
  await target.tell({ kind: 'lease', epoch: 2, lease: { untilMs: 60 } });
  expect(bench.taken()).toEqual(['journal self 2', 'resume']);
});

test('events wait for each other, in the order of their arrival', async () => {
  const bench = new Bench();
  const source = bench.source();
  await Promise.all([
    source.call({ kind: 'freeze', move: toB }),
    source.call({ kind: 'hand-over' }),
    source.tell({ kind: 'relay', from: b, message: { kind: 'refused', move, why: 'full' } }),
  ]);
  expect(bench.taken()).toEqual([
    'journal given 2',
    'give to b',
    'journal self 2',
    'resume',
    'settled to b',
  ]);
});

test('what failed is done before anything else', async () => {
  const bench = new Bench();
  const source = await givenAway(bench);
  bench.failRemovals = 1;
  bench.taken();
  await expect(source.hear(b, { kind: 'received', move })).rejects.toThrow('busy');
  await source.remind();
  expect(bench.taken()).toEqual(['fence', 'remove', 'remove', 'released to b']);
});

test('the queue has a limit', async () => {
  const bench = new Bench();
  const source = bench.source();
  const calls = Array.from({ length: MAX_QUEUED_EVENTS }, () => source.remind());
  await expect(source.remind()).rejects.toThrow(TokenQueueFullError);
  await Promise.all(calls);
  await expect(source.remind()).resolves.toEqual({ kind: 'ignored' });
});

test('a guest stands still when its lease lapses, and goes on with the next', async () => {
  const bench = new Bench();
  const source = bench.source(30);
  await source.checkLease();
  bench.nowMs = 30;
  await source.checkLease();
  await source.checkLease();
  expect(source.mayRun).toBe(false);
  await source.tell({ kind: 'lease', epoch: 1, lease: { untilMs: 60 } });
  expect(bench.taken()).toEqual(['halt', 'journal self 1', 'resume']);
});

test('a restarted agent that gave says so again and asks', async () => {
  const bench = new Bench();
  const entry: TokenEntry = { epoch: 2, holder: { kind: 'given', move: toB }, lease: null };
  const source = TokenDriver.recovered(recoverToken(entry, true), bench.around);
  expect(await source.word()).toMatchObject({ kind: 'given' });
  expect(bench.taken()).toEqual(['give to b', 'ask']);
});

test('a restarted agent does not resume a holder whose lease has lapsed', async () => {
  const bench = new Bench();
  bench.nowMs = 31;
  const entry: TokenEntry = {
    epoch: 1,
    holder: { kind: 'self', from: null },
    lease: { untilMs: 30 },
  };
  const source = TokenDriver.recovered(recoverToken(entry, true), bench.around);
  await source.word();
  expect(bench.taken()).toEqual([]);
  await source.tell({ kind: 'lease', epoch: 1, lease: { untilMs: 60 } });
  expect(bench.taken()).toEqual(['journal self 1', 'resume']);
});
