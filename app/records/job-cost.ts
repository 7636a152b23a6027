/**
 * What a job's VM has cost: of every host that it was on, for as long as it was there, the share that
 * it took of it, at that host's price at the time. Pure. Room that nobody used is not in it.
 */
import { z } from 'zod';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { MigrationRecord } from './migration-record.ts';
import type { VmRecord } from './records.ts';

const HOUR_MS = 3_600_000;

/** What a host costs, in US dollars an hour, from one moment on. */
export const HostPrice = z.object({
  fromMs: z.int(),
  usdPerHour: z.number().min(0),
  /** The same machine on demand; null: nobody said. */
  onDemandUsdPerHour: z.number().min(0).nullable(),
  vcpus: z.int().min(1),
  memoryMib: z.int().min(1),
  /** What it was bought as, in its provider's words: `m8i.large/eu-central-1a/spot`. */
  offer: z.string().max(200).nullable().default(null),
});
export type HostPrice = Readonly<z.infer<typeof HostPrice>>;

export interface JobCost {
  readonly usd: number;
  /** Null where a host's on-demand price is not known. */
  readonly onDemandUsd: number | null;
}

type Stayed = Pick<VmRecord, 'class' | 'hostId' | 'phase' | 'createdAtMs' | 'phaseSinceMs'>;
type Moved = Pick<
  MigrationRecord,
  'phase' | 'from' | 'to' | 'startedAtMs' | 'endedAtMs' | 'stoppedAtMs'
>;

/** Undefined where some host that it was on has no price: hosts of one's own, or an older version. */
export function costOf(
  vm: Stayed,
  moves: readonly Moved[],
  prices: (hostId: HostId) => readonly HostPrice[],
  nowMs: number,
): JobCost | undefined {
  let cost: JobCost = { usd: 0, onDemandUsd: 0 };
  for (const stay of staysOf(vm, moves, nowMs)) {
    const known = prices(stay.hostId).toSorted((a, b) => a.fromMs - b.fromMs);
    if (known.length === 0) return undefined;
    known.forEach((price, index) => {
      // The first price counts from the start: a host is seen a little after it is there.
      const fromMs = index === 0 ? stay.fromMs : Math.max(stay.fromMs, price.fromMs);
      const untilMs = Math.min(stay.untilMs, known[index + 1]?.fromMs ?? stay.untilMs);
      cost = add(cost, price, shareOfHost(vm, price) * Math.max(0, (untilMs - fromMs) / HOUR_MS));
    });
  }
  return cost;
}

interface Stay {
  readonly hostId: HostId;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** A VM that waits in the store is on no host. */
function staysOf(vm: Stayed, moves: readonly Moved[], nowMs: number): readonly Stay[] {
  const hasEnded = vm.phase === 'stopped' || vm.phase === 'failed';
  const endMs = hasEnded ? vm.phaseSinceMs : nowMs;
  const stays: Stay[] = [];
  let fromMs = vm.createdAtMs;
  for (const { phase, from, endedAtMs, stoppedAtMs } of moves) {
    if (phase !== 'done' || endedAtMs === null) continue;
    stays.push({ hostId: from, fromMs, untilMs: stoppedAtMs ?? endedAtMs });
    fromMs = endedAtMs;
  }
  return [...stays, { hostId: vm.hostId, fromMs, untilMs: Math.max(fromMs, endMs) }];
}

/** A VM that takes half of the memory takes half of the host, however few vCPUs it has. */
export function shareOfHost(
  { class: size }: Pick<VmRecord, 'class'>,
  { vcpus, memoryMib }: Pick<HostPrice, 'vcpus' | 'memoryMib'>,
): number {
  return Math.min(1, Math.max(size.vcpus / vcpus, size.memoryMib / memoryMib));
}

function add(cost: JobCost, price: HostPrice, hostHours: number): JobCost {
  const { usdPerHour, onDemandUsdPerHour } = price;
  const isKnown = cost.onDemandUsd !== null && onDemandUsdPerHour !== null;
  return {
    usd: cost.usd + usdPerHour * hostHours,
    onDemandUsd: isKnown ? cost.onDemandUsd + onDemandUsdPerHour * hostHours : null,
  };
}
