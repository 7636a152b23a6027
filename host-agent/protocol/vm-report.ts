/**
 * The host-agent's word on one VM, and the VM lifecycle that it follows:
 *
 *   allocating → starting → idle → assigned → busy → draining → stopped
 *        └──────────┴────────┴────────┴────────┴────────┴──→ failed
 *
 * `busy` is GitHub's to say (`in_progress`), so an agent reports at most `assigned`; the control
 * plane derives `busy`. A report is a whole picture, never a delta: the newest one wins by `seq`.
 */
import { z } from 'zod';
import { Accelerator } from './host-facts.ts';
import { JobId, VmId } from './ids.ts';
import { InstanceClass } from './instance-class.ts';
import { TrackingReport } from './migration-messages.ts';
import { ResizeWord } from './resize-messages.ts';

export const VmPhase = z.enum([
  'allocating',
  'starting',
  'idle',
  'assigned',
  'busy',
  'draining',
  'stopped',
  'failed',
]);
export type VmPhase = z.infer<typeof VmPhase>;

/** What the guest agent read of the runner: not started, running, or ended with its exit code. */
export const RunnerState = z.discriminatedUnion('state', [
  z.object({ state: z.literal('waiting') }),
  z.object({ state: z.literal('running') }),
  z.object({ state: z.literal('exited'), exitCode: z.int() }),
]);
export type RunnerState = Readonly<z.infer<typeof RunnerState>>;

/** What became of being parked, as long as the VM is here. */
export const ParkingWord = z.object({
  /** Of the request. */
  epoch: z.int().min(2),
  /** Null: it is under way. Otherwise the VM was not parked and runs on here: the reason. */
  failed: z.string().max(500).nullable(),
});
export type ParkingWord = Readonly<z.infer<typeof ParkingWord>>;

export const VmReport = z.object({
  vmId: VmId,
  /** Counts this VM's holders: 1 at its start, one more at each hand-over (the token's epoch). */
  epoch: z.int().min(1),
  phase: VmPhase,
  class: InstanceClass,
  /** The job that the VM was assigned for; GitHub may give its runner another. */
  assignedJob: JobId.nullable(),
  accelerator: Accelerator,
  qemuPid: z.int().nullable(),
  guestKernel: z.string().max(128).nullable(),
  runner: RunnerState,
  /** Set when `phase` is `failed` or `stopped`: one sentence for the job's record. */
  why: z.string().max(500).nullable(),
  /** Wall clock of the host, milliseconds since 1970, when each step was reached. */
  startedAtMs: z.int().nullable(),
  guestReadyAtMs: z.int().nullable(),
  runnerStartedAtMs: z.int().nullable(),
  stoppedAtMs: z.int().nullable(),
  /** Absent while the VM is not tracked: it cannot be moved live then. */
  tracking: TrackingReport.optional(),
  /** Of the last request to park it that was taken up here; absent: there was none. */
  parking: ParkingWord.optional(),
  /** Absent: nobody wants another size of it, or it has that. */
  resize: ResizeWord.optional(),
  /** The VM was parked: it waits in the chunk store and is over here. */
  parked: z.literal(true).optional(),
});
export type VmReport = Readonly<z.infer<typeof VmReport>>;
