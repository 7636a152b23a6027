/**
 * What a starting agent does about each VM that it finds traces of. Pure.
 *
 *   journal          folder   decision
 *   held, not ended  yes      adopt    (its QEMU may run, with a job in it)
 *   held, not ended  no       bury     (the agent died before the VM could run)
 *   ended            any      remember (the control plane has not read its end yet)
 *   being parked     any      settle   (the store knows whether it was; nothing is touched before)
 *   on the move      any      ask      (who holds the token; nothing is touched before an answer)
 *   none             yes      remove   (no journal, no VM)
 */

import { canRun, type Parking, type VmJournal } from '../journal/token.ts';
import type { VmId } from '../protocol/ids.ts';

export const STARTED_HALF = 'The host-agent ended while it was starting this VM.';

export type RecoveryStep =
  | { readonly kind: 'adopt'; readonly journal: VmJournal }
  | { readonly kind: 'bury'; readonly journal: VmJournal; readonly why: string }
  | { readonly kind: 'remember'; readonly journal: VmJournal }
  | { readonly kind: 'ask'; readonly journal: VmJournal }
  | { readonly kind: 'settle'; readonly journal: VmJournal; readonly parking: Parking }
  | { readonly kind: 'remove'; readonly vmId: VmId };

export function planRecovery(found: {
  readonly journals: readonly VmJournal[];
  readonly folders: readonly VmId[];
}): readonly RecoveryStep[] {
  const folders = new Set(found.folders);
  const journalled = new Set(found.journals.map(({ vmId }) => vmId));
  const strays = found.folders.filter((vmId) => !journalled.has(vmId));
  return [
    ...found.journals.map((journal) => decide(journal, folders.has(journal.vmId))),
    ...strays.map((vmId) => ({ kind: 'remove', vmId }) as const),
  ];
}

function decide(journal: VmJournal, hasFolder: boolean): RecoveryStep {
  if (journal.ended !== null) return { kind: 'remember', journal };
  const { parking, holder } = journal;
  if (holder.kind === 'self' && parking !== undefined) return { kind: 'settle', journal, parking };
  if (!canRun(journal)) return { kind: 'ask', journal };
  if (hasFolder) return { kind: 'adopt', journal };
  return { kind: 'bury', journal, why: STARTED_HALF };
}
