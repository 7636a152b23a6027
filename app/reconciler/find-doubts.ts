/**
 * Whose token is in doubt, and which host is to be asked first. Pure.
 *
 * A host says so itself once reminding its peer did not help. A source that gave a token and cannot
 * say it, and a target that waits for one, are found by their migration: it stands after the token was
 * given, without an end. The host that is asked first is one that answers; it names the other.
 */
import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import type { ObservedMigration } from '../planner/observed.ts';
import { hasReported } from './assemble-observed.ts';
import type { FleetHost } from './ports.ts';

/** The hand-over itself takes milliseconds, and its reports come at once. */
const STANDS_AFTER_MS = 5_000;

export interface Doubt {
  readonly vmId: VmId;
  readonly hostId: HostId;
}

/** At most one per VM. */
export function findDoubts(
  hosts: readonly FleetHost[],
  migrations: readonly ObservedMigration[],
  nowMs: number,
): readonly Doubt[] {
  const heard = hosts.filter(hasReported);
  const said = heard.flatMap(({ id: hostId, report }) =>
    (report?.tokens ?? []).flatMap(({ vmId, doubt }) => (doubt ? [{ vmId, hostId }] : [])),
  );
  const reachable = new Set(heard.map(({ id }) => id));
  const standing = migrations.flatMap((move) => {
    const hostId = [move.from, move.to].find((id) => id !== undefined && reachable.has(id));
    return hostId !== undefined && isStanding(move, nowMs) ? [{ vmId: move.vmId, hostId }] : [];
  });
  return [...new Map([...standing, ...said].map((doubt) => [doubt.vmId, doubt])).values()];
}

function isStanding({ kind, phase, given, phaseSinceMs }: ObservedMigration, nowMs: number) {
  const isOpen = kind === 'live' && given && phase === 'switchover';
  return isOpen && nowMs - phaseSinceMs >= STANDS_AFTER_MS;
}
