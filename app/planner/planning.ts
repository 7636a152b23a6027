/** What the parts of one plan of moves share. */
import type { MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { World } from './judge-vm.ts';
import type { ObservedMigration } from './observed.ts';
import type { Room } from './room.ts';

export interface Planning {
  readonly world: World;
  /** Counted down as the plan sends VMs to hosts. */
  readonly room: Room;
  readonly ids: Iterator<MigrationId>;
  /** Live moves of each VM that were aborted a moment ago. */
  readonly failed: ReadonlyMap<VmId, readonly ObservedMigration[]>;
}

/** Undefined when they have run out. */
export function nextId({ ids }: Planning): MigrationId | undefined {
  const next = ids.next();
  return next.done === true ? undefined : next.value;
}
