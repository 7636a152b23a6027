/**
 * One attempt to bring one VM from a host to another: a record of its own, never a flag on the VM.
 *
 *   live     reserving → precopy → switchover → committed → done
 *                └───────────┴───────────┴──→ aborted   committed → lost
 *   park     parking → parked ⇄ resuming → done
 *                └──→ aborted (the source refused, or the VM ended first)   any → lost
 *   rewind   resuming ⇄ parked → done          any → lost
 *
 * A parked VM waits in the chunk store and is nowhere; a rewound one does so from its checkpoint on.
 * Ended records are the evidence of a job's moves.
 */
import { z } from 'zod';
import { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { MigrationPhase } from '../../host-agent/protocol/migration-messages.ts';

export const MovePhase = z.enum([...MigrationPhase.options, 'parking', 'parked', 'resuming']);
export type MovePhase = z.infer<typeof MovePhase>;

export const MoveKind = z.enum(['live', 'park', 'rewind']);
export type MoveKind = z.infer<typeof MoveKind>;

export const MigrationRecord = z.object({
  id: MigrationId,
  generation: z.int().min(1),
  vmId: VmId,
  /** The job that the VM ran, or was there for, when this began. */
  jobId: JobId.nullable(),
  kind: MoveKind,
  from: HostId,
  /** Null while no host is chosen for a VM in the store. */
  to: HostId.nullable(),
  /** What the target will hold. A VM's attempts have rising epochs; none is used twice. */
  epoch: z.int().min(2),
  phase: MovePhase,
  /** The source has given the token away: only the target may run, nothing can be taken back. */
  given: z.boolean(),
  /** The source vanished while it parked the VM: the store knows whether it got that far. */
  unconfirmed: z.boolean(),
  /** Why it was begun: one sentence. */
  because: z.string().max(500),
  /** How it ended, when not with the VM running at the target. */
  why: z.string().max(500).nullable(),
  /** When the agents give it up by themselves. */
  deadlineMs: z.int(),
  /** Hosts that were asked to resume it and could not. */
  attempts: z.int().min(0),
  startedAtMs: z.int(),
  phaseSinceMs: z.int(),
  /** When the guest of a parked VM was stopped; of a rewound one: its checkpoint. */
  stoppedAtMs: z.int().nullable(),
  endedAtMs: z.int().nullable(),
  /** How long the guest did not run; of a rewound one since its checkpoint, which is longer. */
  blackoutMs: z.number().min(0).nullable(),
  bytesFromSource: z.int().min(0),
  bytesFromStore: z.int().min(0),
  bytesLeft: z.int().min(0),
  /** Null where nobody counts (no gateway). */
  packetsLost: z.int().min(0).nullable(),
});
export type MigrationRecord = Readonly<z.infer<typeof MigrationRecord>>;

/** Begun and not over: the VM has no other migration meanwhile. */
export function isOpenMove({ phase }: Pick<MigrationRecord, 'phase'>): boolean {
  return phase !== 'done' && phase !== 'aborted' && phase !== 'lost';
}

/** The VM waits in the chunk store: no host holds it. */
export function isStored({ phase }: Pick<MigrationRecord, 'phase'>): boolean {
  return phase === 'parked' || phase === 'resuming';
}

/** What a new attempt begins with. */
export function newMigration(
  given: Pick<
    MigrationRecord,
    'id' | 'vmId' | 'jobId' | 'kind' | 'from' | 'to' | 'epoch' | 'because' | 'deadlineMs'
  >,
  nowMs: number,
): MigrationRecord {
  const first = { live: 'reserving', park: 'parking', rewind: 'resuming' } as const;
  return {
    ...given,
    generation: 1,
    phase: first[given.kind],
    given: false,
    unconfirmed: false,
    because: given.because.slice(0, 500),
    why: null,
    attempts: 0,
    startedAtMs: nowMs,
    phaseSinceMs: nowMs,
    stoppedAtMs: null,
    endedAtMs: null,
    blackoutMs: null,
    bytesFromSource: 0,
    bytesFromStore: 0,
    bytesLeft: 0,
    packetsLost: null,
  };
}

/** An operator's wish that a VM moves: kept until a migration with its id begins, or it cannot be. */
export const MoveWish = z.object({
  id: MigrationId,
  vmId: VmId,
  /** Null: the planner chooses. */
  to: HostId.nullable(),
  /** To be done by then, as if a notice had said so; null: no hurry. */
  deadlineMs: z.int().nullable(),
  askedAtMs: z.int(),
  state: z.enum(['open', 'begun', 'ended']),
  why: z.string().max(500).nullable(),
});
export type MoveWish = Readonly<z.infer<typeof MoveWish>>;
