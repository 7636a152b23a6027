/**
 * The words of a move between control plane and agents. A migration is a record of its own; what an
 * agent says of it is in its reports, newest wins.
 *
 *   reserving ──→ precopy ──→ switchover ──→ committed ──→ done
 *       └────────────┴────────────┴──→ aborted   (the source runs on)
 *                          committed ──→ lost     (only after the token was given)
 *
 *   control plane → target   receive-vm: reserve room, open a port for one peer → taken{peer}
 *   control plane → source   send-vm: dial that port and move the VM there
 *   control plane → either   abort-migration; refused once the token is given
 *   control plane → source   park-vm: stop, flush, publish; the VM ends here and waits in the store
 *   control plane → host     resume-vm: start from the newest manifest in the store
 *
 * Both sides prove themselves by their own certificates and by the migration's credential, which the
 * control plane made for this one attempt.
 */
import { z } from 'zod';
import { PoolSpec } from './host-facts.ts';
import { HostId, JobId, MigrationId, VmId } from './ids.ts';
import { InstanceClass } from './instance-class.ts';

const Why = z.string().max(500);

/** A guest that is slowed down more than this would rather be parked. */
export const LEAST_CPU_SHARE = 0.1;

/** A secret of 32 bytes, base64: known to the two agents of one attempt and to nobody else. */
export const MigrationCredential = z.base64().length(44);

export const PeerEndpoint = z.object({
  /** An address of the target on the hosts' network. */
  host: z.string().max(253),
  port: z.int().min(1).max(65_535),
});
export type PeerEndpoint = Readonly<z.infer<typeof PeerEndpoint>>;

/** The key that a VM's chunks are sealed with. `plain` is a secret; only `wrapped` goes into the store. */
export const VmKey = z.object({
  /** 32 bytes, base64. */
  plain: z.base64().length(44),
  /** The same, wrapped by the control plane's master key. */
  wrapped: z.base64().max(512),
});
export type VmKey = Readonly<z.infer<typeof VmKey>>;

/** Where a VM's packets go out: its gateway's address on the hosts' network. */
export const VmGateway = z.object({
  gateway: z.ipv4(),
  /** The address there of the host that it comes from: what that one sends after it is let in. */
  stragglersFrom: z.ipv4().optional(),
});

/** Where the source of a move asks for flips (gateway-messages.ts). */
export const FlipEndpoint = z.object({
  gatewayId: HostId,
  host: z.ipv4(),
  port: z.int().min(1).max(65_535),
});
export type FlipEndpoint = Readonly<z.infer<typeof FlipEndpoint>>;

export const ReceiveVm = z.object({
  kind: z.literal('receive-vm'),
  migrationId: MigrationId,
  vmId: VmId,
  /** The epoch that this host will hold. */
  epoch: z.int().min(2),
  from: HostId,
  credential: MigrationCredential,
  class: InstanceClass,
  pool: PoolSpec,
  assignedJob: JobId.nullable(),
  key: VmKey,
  /** As in `start-vm`. */
  rewindable: z.boolean().optional(),
  /** Absent: it has none, and its connections break. */
  network: VmGateway.optional(),
  /** Give up when the source has not dialled, or not finished, by then (wall clock). */
  deadlineMs: z.int(),
});
export type ReceiveVm = Readonly<z.infer<typeof ReceiveVm>>;

export const SendVm = z.object({
  kind: z.literal('send-vm'),
  migrationId: MigrationId,
  vmId: VmId,
  epoch: z.int().min(2),
  to: HostId,
  peer: PeerEndpoint,
  credential: MigrationCredential,
  deadlineMs: z.int(),
  /** The guest's CPU is limited to this share while it is copied; 1: not at all. */
  cpuShare: z.number().min(0.01).max(1),
  /** Absent: the VM has no gateway, or it cannot be reached; the VM moves all the same. */
  flipAt: FlipEndpoint.optional(),
});
export type SendVm = Readonly<z.infer<typeof SendVm>>;

export const AbortMigration = z.object({
  kind: z.literal('abort-migration'),
  migrationId: MigrationId,
  vmId: VmId,
  why: Why,
});
export type AbortMigration = Readonly<z.infer<typeof AbortMigration>>;

/** Stops the guest, publishes its manifest with this epoch and ends the VM here as `parked`. */
export const ParkVm = z.object({
  kind: z.literal('park-vm'),
  vmId: VmId,
  /** The epoch that whoever resumes it will hold. */
  epoch: z.int().min(2),
  deadlineMs: z.int(),
  why: Why,
});
export type ParkVm = Readonly<z.infer<typeof ParkVm>>;

export const ResumeVm = z.object({
  kind: z.literal('resume-vm'),
  vmId: VmId,
  epoch: z.int().min(2),
  class: InstanceClass,
  pool: PoolSpec,
  assignedJob: JobId.nullable(),
  key: VmKey,
  /** As in `start-vm`. */
  rewindable: z.boolean().optional(),
  network: VmGateway.optional(),
  /** `parked`: the same run goes on. `rewound`: a checkpoint; the guest gets a new generation id. */
  from: z.enum(['parked', 'rewound']),
});
export type ResumeVm = Readonly<z.infer<typeof ResumeVm>>;

/** Publishes a checkpoint now, besides those that come by themselves. */
export const CheckpointVm = z.object({ kind: z.literal('checkpoint-vm'), vmId: VmId });

export const MigrationPhase = z.enum([
  'reserving',
  'precopy',
  'switchover',
  'committed',
  'done',
  'aborted',
  'lost',
]);
export type MigrationPhase = z.infer<typeof MigrationPhase>;

/** One agent's view of one migration, kept for some minutes after its end. */
export const MigrationReport = z.object({
  migrationId: MigrationId,
  vmId: VmId,
  role: z.enum(['source', 'target']),
  peer: HostId,
  epoch: z.int().min(2),
  phase: MigrationPhase,
  why: Why.nullable(),
  startedAtMs: z.int(),
  endedAtMs: z.int().nullable(),
  /** The source's word: from before its `stop` until the target said that the guest runs there. */
  blackoutMs: z.number().min(0).nullable(),
  bytesFromSource: z.int().min(0),
  bytesFromStore: z.int().min(0),
  /** Still to come from the source; an estimate while the guest writes. */
  bytesLeft: z.int().min(0),
  /** That host's own count. Null where nobody counts: no gateway, or a switch that cannot. */
  packetsLost: z.int().min(0).nullable(),
});
export type MigrationReport = Readonly<z.infer<typeof MigrationReport>>;

/** What moving this VM away would cost now: the evacuation planner's figures. */
export const TrackingReport = z.object({
  /** Only this host has them: memory and disk that differ from base and are not in the store. */
  bytesUnsealed: z.int().min(0),
  bytesInStore: z.int().min(0),
  dirtyBytesPerSecond: z.number().min(0),
  lastCheckpoint: z.object({ epoch: z.int(), generation: z.int(), atMs: z.int() }).nullable(),
});
export type TrackingReport = Readonly<z.infer<typeof TrackingReport>>;
