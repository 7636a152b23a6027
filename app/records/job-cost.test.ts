import { expect, it } from 'vitest';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { costOf, type HostPrice } from './job-cost.ts';

const HOUR_MS = 3_600_000;
const [A, B] = [HostId.parse('host-a'), HostId.parse('host-b')];
const CLASS = { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' } as const;

function price(over: Partial<HostPrice> = {}): HostPrice {
  return {
    ...{ fromMs: 0, usdPerHour: 0.1, onDemandUsdPerHour: 0.4, vcpus: 8, memoryMib: 32_768 },
    offer: null,
    ...over,
  };
}

function vm(over: Partial<Parameters<typeof costOf>[0]> = {}) {
  const phase = 'stopped' as const;
  return {
    class: CLASS,
    hostId: A,
    phase,
    createdAtMs: HOUR_MS,
    phaseSinceMs: 3 * HOUR_MS,
    ...over,
  };
}

function move(over: Partial<Parameters<typeof costOf>[1][number]> = {}) {
  const endedAtMs = 2 * HOUR_MS;
  const done = { phase: 'done' as const, from: A, to: B, startedAtMs: endedAtMs - 5_000 };
  return { ...done, endedAtMs, stoppedAtMs: null, ...over };
}

type Prices = Readonly<Record<string, readonly HostPrice[]>>;
const cost = (one: ReturnType<typeof vm>, moves: ReturnType<typeof move>[], prices: Prices) =>
  costOf(one, moves, (host) => prices[host] ?? [], 4 * HOUR_MS);

it('is the share of the host for the time on it, beside the same on demand', () => {
  expect(cost(vm(), [], { [A]: [price()] })).toEqual({ usd: 0.05, onDemandUsd: 0.2 });
});

it('takes the larger share, of vCPUs or memory, and never more than the host', () => {
  const wide = { ...CLASS, memoryMib: 16_384 };
  expect(cost(vm({ class: wide }), [], { [A]: [price()] })?.usd).toBeCloseTo(0.1);
  const huge = { ...CLASS, vcpus: 64 };
  expect(cost(vm({ class: huge }), [], { [A]: [price()] })?.usd).toBeCloseTo(0.2);
});

it('runs on while the VM does', () => {
  const running = vm({ phase: 'busy', phaseSinceMs: HOUR_MS });
  expect(cost(running, [], { [A]: [price()] })?.usd).toBeCloseTo(0.075);
});

it('follows the VM from host to host; attempts that failed cost nothing', () => {
  const prices = { [A]: [price()], [B]: [price({ usdPerHour: 0.2 })] };
  const moves = [move({ phase: 'aborted' as never, endedAtMs: 1.5 * HOUR_MS }), move()];
  expect(cost(vm({ hostId: B }), moves, prices)?.usd).toBeCloseTo(0.025 + 0.05);
});

it('costs nothing while it waits in the store', () => {
  const prices = { [A]: [price()], [B]: [price()] };
  const parked = move({ stoppedAtMs: HOUR_MS, endedAtMs: 2 * HOUR_MS });
  expect(cost(vm({ hostId: B }), [parked], prices)?.usd).toBeCloseTo(0.025);
});

it('follows the price', () => {
  const prices = [price({ fromMs: 2 * HOUR_MS, usdPerHour: 0.4 }), price({ fromMs: 1 })];
  expect(cost(vm(), [], { [A]: prices })?.usd).toBeCloseTo(0.025 + 0.1);
  expect(cost(vm(), [], { [A]: [price({ fromMs: 2.5 * HOUR_MS })] })?.usd).toBeCloseTo(0.05);
});

it('says nothing where a price is not known', () => {
  expect(cost(vm(), [], {})).toBeUndefined();
  expect(cost(vm({ hostId: B }), [move()], { [B]: [price()] })).toBeUndefined();
  expect(cost(vm(), [], { [A]: [price({ onDemandUsdPerHour: null })] })).toEqual({
    ...{ usd: 0.05, onDemandUsd: null },
  });
});
