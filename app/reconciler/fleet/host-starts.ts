/**
 * How long bought machines took from their launch to their first VM, by phase. Pure.
 *
 *   launched ──boot, join──→ joined ──fetch image and template──→ ready ──→ first VM runs
 *
 * Only of machines that this process bought: of others the phases are not known.
 */
import { z } from 'zod';
import type { HostId } from '../../../host-agent/protocol/ids.ts';
import type { Observed } from '../../planner/observed.ts';
import type { ProviderHost } from '../../providers/provider.ts';
import type { FleetHost } from '../ports.ts';

const MAX_STARTS = 50;

export const HostStart = z.object({
  machineId: z.string(),
  offerId: z.string(),
  /** The provider's clock; the others are ours. */
  launchedAtMs: z.int(),
  joinedAtMs: z.int().nullable(),
  /** It has the pool's image and template. */
  readyAtMs: z.int().nullable(),
  firstVmAtMs: z.int().nullable(),
});
export type HostStart = Readonly<z.infer<typeof HostStart>>;

/** Adds a machine that was launched just now; the oldest are let go. */
export function addStart(
  starts: readonly HostStart[],
  { machineId, offerId, launchedAtMs }: ProviderHost,
): readonly HostStart[] {
  const start = {
    ...{ machineId, offerId, launchedAtMs },
    ...{ joinedAtMs: null, readyAtMs: null, firstVmAtMs: null },
  };
  return [...starts, start].slice(-MAX_STARTS);
}

/** What has been reached by now; the same where nothing has. */
export function advanceStarts(
  starts: readonly HostStart[],
  hosts: readonly FleetHost[],
  observed: Observed,
  nowMs: number,
): readonly HostStart[] {
  if (starts.every(({ firstVmAtMs }) => firstVmAtMs !== null)) return starts;
  const ids = new Map(hosts.map(({ hostname, id }) => [hostname, id]));
  return starts.map((start) => {
    const hostId = ids.get(start.machineId);
    return hostId === undefined ? start : advance(start, hostId, observed, nowMs);
  });
}

function advance(start: HostStart, hostId: HostId, observed: Observed, nowMs: number): HostStart {
  if (start.firstVmAtMs !== null) return start;
  const host = observed.hosts.find(({ id }) => id === hostId);
  const runs = observed.vms.some(
    ({ hostId: on, phase }) => on === hostId && (phase === 'assigned' || phase === 'busy'),
  );
  const since = (before: number | null, reached: boolean) => before ?? (reached ? nowMs : null);
  return {
    ...start,
    joinedAtMs: since(start.joinedAtMs, host !== undefined && host.state !== 'turned-away'),
    readyAtMs: since(start.readyAtMs, host?.templateReady === true),
    firstVmAtMs: since(start.firstVmAtMs, runs),
  };
}
