/**
 * The working records of one fleet. They live in Redis and may vanish at any moment: each can be
 * rebuilt from GitHub (jobs), the host-agents' reports (VMs) and the job evidence on disk.
 * Every record has one owner, the reconciler's lease holder or the intake worker, and a generation
 * number that a write must match, so that a stale writer loses.
 */
import { z } from 'zod';
import { MAX_PORTS_PER_VM, OfferedPort } from '../../host-agent/protocol/gateway-messages.ts';
import { Accelerator, PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import { HostId, JobId, VmId } from '../../host-agent/protocol/ids.ts';
import { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import { VmPhase } from '../../host-agent/protocol/vm-report.ts';
import { ResizeWish } from './vm-resize.ts';

/** Where on GitHub a job is: enough to mint a runner for it and to ask about it again. */
export const JobOrigin = z.object({
  installationId: z.int(),
  owner: z.string().max(100),
  repo: z.string().max(100),
  /** Runners are registered with the organisation where there is one, else with the repository. */
  scope: z.enum(['organization', 'repository']),
  runId: z.int(),
  headSha: z.string().max(64),
});
export type JobOrigin = Readonly<z.infer<typeof JobOrigin>>;

export const JobRecord = z.object({
  id: JobId,
  generation: z.int().min(1),
  origin: JobOrigin,
  name: z.string().max(500),
  workflowName: z.string().max(500),
  /** All of the job's labels, as GitHub gave them. */
  labels: z.array(z.string().max(500)).max(100),
  class: InstanceClass,
  state: z.enum(['queued', 'in-progress', 'completed', 'refused', 'lost']),
  /** Why it was refused or lost: one sentence for the user. */
  why: z.string().max(1000).nullable(),
  conclusion: z.string().max(32).nullable(),
  /** From `in_progress`: which runner GitHub gave the job to. */
  runnerName: z.string().max(128).nullable(),
  vmId: VmId.nullable(),
  vmsStarted: z.int().min(0),
  /** Of a lost job: whether GitHub is to run it again, or was asked to. */
  rerun: z.enum(['wanted', 'asked', 'given-up']).nullable().default(null),
  queuedAtMs: z.int(),
  startedAtMs: z.int().nullable(),
  completedAtMs: z.int().nullable(),
  /** When it was found to be lost. */
  lostAtMs: z.int().nullable().default(null),
});
export type JobRecord = Readonly<z.infer<typeof JobRecord>>;

export const VmRecord = z.object({
  id: VmId,
  generation: z.int().min(1),
  hostId: HostId,
  phase: VmPhase,
  class: InstanceClass,
  forJob: JobId.nullable(),
  runsJob: JobId.nullable(),
  runnerId: z.int().nullable(),
  runnerName: z.string().max(128).nullable(),
  /**
   * What GitHub says of a runner that was assigned: `taken` by a job that we may not see, or `gone`
   * before any job took it.
   */
  runnerWord: z.enum(['taken', 'gone']).nullable().default(null),
  /** What its host reports of it; null until the VM runs. */
  qemuPid: z.int().nullable(),
  guestKernel: z.string().max(128).nullable(),
  accelerator: Accelerator.nullable(),
  phaseSinceMs: z.int(),
  createdAtMs: z.int(),
  why: z.string().max(500).nullable(),
  /** What the host it is on holds. */
  epoch: z.int().min(1).default(1),
  /** The highest epoch that any attempt was given; the next one's is above it. */
  lastEpoch: z.int().min(1).default(1),
  /** It holds a run lease and takes checkpoints, because the job it was started for opted in. */
  rewindable: z.boolean().default(false),
  /** Its chunks' key, wrapped by the master key; null: none, so it goes into no store. */
  wrappedKey: z.base64().max(512).nullable().default(null),
  lastCheckpointAtMs: z.int().nullable().default(null),
  /** The end of the last run lease that was granted to any holder of it; null: none was. */
  leaseUntilMs: z.int().nullable().default(null),
  /** What it was started from, which it needs wherever it goes; null: of an older version. */
  pool: PoolSpec.nullable().default(null),
  /** For its whole life, wherever it goes; null: it has no gateway, and its host chose its address. */
  network: z
    .object({
      /** No other VM of the fleet has it. */
      guestAddress: z.ipv4(),
      gateway: HostId,
      /** The gateway's address on the hosts' network. */
      gatewayAddress: z.ipv4(),
      /** The gateway had a prefix when the VM began, so its guest has an address of both kinds. */
      ipv6: z.boolean().optional(),
      /** Public ports that lead to the VM. */
      ports: z.array(OfferedPort).max(MAX_PORTS_PER_VM).optional(),
    })
    .nullable()
    .default(null),
  /** Its job wants, or wanted, another size of it. */
  resize: ResizeWish.nullable().default(null),
  /** Its job wants it to stay on its host; null: it does not care. */
  held: z
    .object({
      /** How often it had moved by then. */
      movesBefore: z.int().min(0),
    })
    .nullable()
    .default(null),
});
export type VmRecord = Readonly<z.infer<typeof VmRecord>>;

/** The runner's name on GitHub: readable, unique, and enough to find its VM again. */
export function runnerNameOf(vmId: VmId): string {
  return `architect-${vmId}`;
}

/** Undefined for a runner that is not one of ours. */
export function vmIdOfRunner(runnerName: string): VmId | undefined {
  if (!runnerName.startsWith('architect-')) return undefined;
  return VmId.safeParse(runnerName.slice('architect-'.length)).data;
}

/** What a `workflow_job` event, or GitHub's answer about a job, says of it. */
export interface JobFacts {
  readonly id: JobId;
  readonly origin: JobOrigin;
  readonly name: string;
  readonly workflowName: string;
  readonly labels: readonly string[];
  readonly status: 'waiting' | 'queued' | 'in_progress' | 'completed';
  readonly conclusion: string | null;
  readonly runnerName: string | null;
  /** Wall clock of GitHub, milliseconds since 1970. */
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  readonly completedAtMs: number | null;
}

/** Moments in a job's life, for its timeline. */
export const JobMoment = z.enum([
  'webhook-received',
  'vm-requested',
  'vm-started',
  'guest-ready',
  'runner-assigned',
  'runner-online',
  'in-progress',
  'notice',
  'moving',
  'moved',
  'parked',
  'rewound',
  'completed',
  'vm-destroyed',
]);
export type JobMoment = z.infer<typeof JobMoment>;
