/**
 * The token: the right to run a VM. It is in one place at a time; where it is, the journals say, on
 * disk, before the VM runs. The epoch counts grants of it.
 *
 *   started here ──→ self ──────────────→ given ──the target received──→ no journal
 *                     ▲ ▲                   │
 *         received    │ └─the target refused┘
 *                     │
 *   no journal ──→ reserved ──→ refused ──the source's epoch is past it──→ no journal
 *
 * Invariants, which `canRun` decides and no caller may go around:
 * - only a VM whose token is held here runs here; a given, reserved or refused one does not,
 *   whatever else is known;
 * - what has ended never runs again; what is being parked, not before the store has said;
 * - no journal, no VM.
 *
 * Who may write which entry when: host-agent/authority.
 */
import { z } from 'zod';
import { PoolSpec } from '../protocol/host-facts.ts';
import { JobId, VmId } from '../protocol/ids.ts';
import { InstanceClass } from '../protocol/instance-class.ts';
import { PeerMove, RunLease } from '../protocol/token-messages.ts';
import { VmReport } from '../protocol/vm-report.ts';

export const TokenHolder = z.discriminatedUnion('kind', [
  /** `from`: the host that gave it and has not said yet that nothing of the VM is left there. */
  z.object({ kind: z.literal('self'), from: PeerMove.nullable() }),
  z.object({ kind: z.literal('given'), move: PeerMove }),
  z.object({ kind: z.literal('reserved'), move: PeerMove }),
  z.object({ kind: z.literal('refused'), move: PeerMove, why: z.string().max(500) }),
]);
export type TokenHolder = Readonly<z.infer<typeof TokenHolder>>;

/** The part of a journal that the token's machines write. */
export const TokenEntry = z.object({
  epoch: z.int().min(1),
  holder: TokenHolder,
  /** Set in a rewindable VM that is held or given: it runs only until then. */
  lease: RunLease.nullable(),
});
export type TokenEntry = Readonly<z.infer<typeof TokenEntry>>;

const About = z.object({
  vmId: VmId,
  class: InstanceClass,
  pool: PoolSpec,
  startedAtMs: z.int(),
  /** The VM's last word, kept until the control plane has read it. */
  ended: VmReport.nullable(),
});

/** `epoch`: of the manifest that becomes visible, which another host will hold. */
const Parking = z.object({ epoch: z.int().min(2), stoppedAtMs: z.int() });
export type Parking = Readonly<z.infer<typeof Parking>>;

const Format2 = z.object({
  ...About.shape,
  ...TokenEntry.shape,
  format: z.literal(2),
  /** The job that the VM was assigned for, which goes with it. */
  assignedJob: JobId.nullable(),
  /** It is being parked: the store says whether it is, and until then it does not run (park.ts). */
  parking: Parking.optional(),
});

/** Written before VMs could move: each VM was held where it started. */
const Format1 = z.object({
  ...About.shape,
  format: z.literal(1),
  epoch: z.int().min(1),
  holder: z.object({ kind: z.literal('self') }),
});

export const VmJournal = z.union([
  Format2,
  Format1.transform((old) => ({
    ...old,
    format: 2 as const,
    holder: { kind: 'self' as const, from: null },
    lease: null,
    assignedJob: old.ended?.assignedJob ?? null,
  })),
]);
export type VmJournal = Readonly<z.infer<typeof Format2>>;

interface Newcomer {
  readonly vmId: VmId;
  readonly class: InstanceClass;
  readonly pool: PoolSpec;
  readonly nowMs: number;
}

/** A VM that starts on this host: in epoch 1, or, from a manifest, in the one that was granted. */
export function startedHere(
  vm: Newcomer & { readonly epoch?: number; readonly lease?: RunLease | null },
): VmJournal {
  const holder: TokenHolder = { kind: 'self', from: null };
  const entry: TokenEntry = { epoch: vm.epoch ?? 1, holder, lease: vm.lease ?? null };
  return firstJournal(vm, { entry, assignedJob: null });
}

/** A VM that is to move here; `entry` is what the target's machine wants journalled. */
export function reservedHere(
  vm: Newcomer & { readonly entry: TokenEntry; readonly assignedJob: JobId | null },
): VmJournal {
  return firstJournal(vm, vm);
}

/** The same VM with its token elsewhere, or back. */
export function rewritten(journal: VmJournal, entry: TokenEntry): VmJournal {
  return { ...journal, ...entry };
}

/** Undefined: it is not being parked any more. */
export function withParking(
  { parking: _, ...journal }: VmJournal,
  parking: Parking | undefined,
): VmJournal {
  return parking === undefined ? journal : { ...journal, parking };
}

export function ended(journal: VmJournal, report: VmReport): VmJournal {
  return { ...journal, ended: report };
}

/** The token allows it; a rewindable VM needs a lease that has not lapsed besides (run-lease.ts). */
export function canRun(journal: VmJournal): boolean {
  return journal.holder.kind === 'self' && journal.ended === null && journal.parking === undefined;
}

function firstJournal(
  { vmId, class: size, pool, nowMs }: Newcomer,
  { entry, assignedJob }: { readonly entry: TokenEntry; readonly assignedJob: JobId | null },
): VmJournal {
  const startedAtMs = Math.round(nowMs);
  return {
    format: 2,
    vmId,
    ...entry,
    class: size,
    pool,
    startedAtMs,
    assignedJob,
    ended: null,
  };
}
