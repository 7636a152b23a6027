/** How migrations are written: what is weighty on disk first, then in Redis. */
import type { MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { MigrationRecord } from '../records/migration-record.ts';
import type { VmRecord } from '../records/records.ts';
import type { ExecutorPorts } from './executor.ts';

type Books = Pick<ExecutorPorts, 'store' | 'evidence' | 'now'>;

/**
 * The VM with this epoch taken for the attempt, on disk before anybody can hear of it. Undefined when
 * another attempt was faster, or the VM is gone: then nothing was written.
 */
export async function claimEpoch(
  { store, evidence, now }: Books,
  vmId: VmId,
  epoch: number,
): Promise<VmRecord | undefined> {
  let claimed = false;
  const vm = await store.updateVm(vmId, now(), async (stored) => {
    claimed = stored !== undefined && stored.lastEpoch < epoch;
    if (stored === undefined || !claimed) return undefined;
    const changed = { ...stored, lastEpoch: epoch };
    evidence.rememberVm(changed);
    await evidence.written();
    return changed;
  });
  return claimed ? vm : undefined;
}

export async function recordMigration(
  { store, evidence, now }: Books,
  migration: MigrationRecord,
): Promise<void> {
  evidence.rememberMigration(migration);
  await evidence.written();
  await store.putMigration(migration, now());
}

/** Undefined when there is no such record; unchanged when `change` answers undefined. */
export async function changeMigration(
  { store, evidence, now }: Books,
  id: MigrationId,
  change: (migration: MigrationRecord) => MigrationRecord | undefined,
): Promise<MigrationRecord | undefined> {
  return await store.updateMigration(id, now(), async (stored) => {
    const changed = stored === undefined ? undefined : change(stored);
    if (changed === undefined) return undefined;
    evidence.rememberMigration(changed);
    await evidence.written();
    return changed;
  });
}
