/** A company's CI, drawn: busy by day, quiet by night; most jobs are short and some are long. */
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import { createChance } from './seeded.ts';
import type { Machine } from './traces.ts';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const MEDIAN_MS = 8 * MINUTE_MS;
const SPREAD = 0.9;
const LONGEST_MS = 120 * MINUTE_MS;
const GIB = 1024 ** 3;

export interface Work {
  readonly atMs: number;
  readonly durationMs: number;
  /** What the job's VM has changed: not yet in the store, and in it. */
  readonly bytesUnsealed: number;
  readonly bytesInStore: number;
  readonly dirtyBytesPerSecond: number;
}

export function drawWork(given: {
  readonly untilMs: number;
  readonly jobsPerHour: number;
  readonly seed: number;
}): readonly Work[] {
  const chance = createChance(given.seed);
  const work: Work[] = [];
  let atMs = 0;
  while (true) {
    atMs += chance.exponential((60 * MINUTE_MS) / (given.jobsPerHour * busyness(atMs)));
    if (atMs >= given.untilMs) return work;
    work.push({
      atMs,
      durationMs: Math.min(LONGEST_MS, MEDIAN_MS * Math.exp(SPREAD * chance.normal())),
      bytesUnsealed: Math.round((0.1 + chance.exponential(0.4)) * GIB),
      bytesInStore: Math.round(chance.exponential(2) * GIB),
      dirtyBytesPerSecond: Math.round(chance.exponential(10_000_000)),
    });
  }
}

/** Eight jobs' VMs fill a large machine, two a small one. */
export function classFor({ vcpus, memoryMib }: Machine): InstanceClass {
  const share = vcpus >= 32 ? 8 : 2;
  return {
    vcpus: vcpus / share,
    memoryMib: Math.floor((memoryMib * 0.9) / share / 1024) * 1024,
    diskGib: 40,
    arch: 'x64',
  };
}

/** 1 on the average of a day. */
function busyness(atMs: number): number {
  return 1 + 0.8 * Math.sin((2 * Math.PI * (atMs % DAY_MS)) / DAY_MS);
}
