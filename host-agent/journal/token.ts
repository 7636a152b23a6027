/**
 * The token: the right to run a VM. It is in one place at a time; where it is, the holder's journal
 * says, on disk, before the VM runs. The epoch counts holders.
 *
 *   started here: epoch 1, held by self ──ended──→ ended, for good
 *                          │
 *                          └─ handing over will add: given to a host, epoch n + 1; taken back when
 *                             that host journals that it refused
 *
 * Invariants, which `canRun` decides and no caller may go around:
 * - only a VM whose token is held here runs here; a given one does not, whatever else is known;
 * - what has ended never runs again;
 * - no journal, no VM.
 */
import { z } from 'zod';
import { PoolSpec } from '../protocol/host-facts.ts';
import { HostId, VmId } from '../protocol/ids.ts';
import { InstanceClass } from '../protocol/instance-class.ts';
import { VmReport } from '../protocol/vm-report.ts';

export const TokenHolder = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('self') }),
  z.object({ kind: z.literal('given'), to: HostId }),
]);
export type TokenHolder = Readonly<z.infer<typeof TokenHolder>>;

export const VmJournal = z.object({
  format: z.literal(1),
  vmId: VmId,
  epoch: z.int().min(1),
  holder: TokenHolder,
  class: InstanceClass,
  pool: PoolSpec,
  startedAtMs: z.int(),
  /** The VM's last word, kept until the control plane has read it. */
  ended: VmReport.nullable(),
});
export type VmJournal = Readonly<z.infer<typeof VmJournal>>;

export function startedHere(vm: {
  readonly vmId: VmId;
  readonly class: InstanceClass;
  readonly pool: PoolSpec;
  readonly nowMs: number;
}): VmJournal {
  return {
    format: 1,
    vmId: vm.vmId,
    epoch: 1,
    holder: { kind: 'self' },
    class: vm.class,
    pool: vm.pool,
    startedAtMs: Math.round(vm.nowMs),
    ended: null,
  };
}

export function ended(journal: VmJournal, report: VmReport): VmJournal {
  return { ...journal, ended: report };
}

export function canRun(journal: VmJournal): boolean {
  return journal.holder.kind === 'self' && journal.ended === null;
}
