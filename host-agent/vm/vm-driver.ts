/**
 * What the rest of the host-agent sees of one VM. One driver per VM owns every effect on it: its
 * QEMU, its files, its cgroup. Its network (namespace, tap) is made before and removed after by the
 * caller.
 *
 *   startVm(spec, context)   answers at once with a driver in `allocating`; a start that fails shows
 *                            as phase `failed` with its why, never as an exception
 *   adoptVm(vmDir, context)  after a restart of the agent: takes the running QEMU over again; a VM
 *                            that died meanwhile comes back as a driver in `failed`
 *
 * Invariants: no secret is kept in the VM's folder; QEMU outlives the agent; after `stop` has
 * settled no process, cgroup or file of the VM is left but `state.json`.
 */
import type { Logger } from 'pino';
import { z } from 'zod';
import { PoolSpec } from '../protocol/host-facts.ts';
import type { JobId } from '../protocol/ids.ts';
import { VmId } from '../protocol/ids.ts';
import { InstanceClass } from '../protocol/instance-class.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type { VmReport } from '../protocol/vm-report.ts';
import type { GuestAgent } from './guest-agent/guest-agent.ts';
import { PluggedHardware } from './qemu-arguments.ts';
import type { QmpClient } from './qmp/qmp-client.ts';
import type { VmMemory } from './state-file.ts';

/** The VM's own network namespace, made by host-agent/net, and the guest's addresses in it. */
export const VmNetwork = z.object({
  /** For example `/run/netns/ar-main-vm-1a2b3c4d`. */
  netnsPath: z.string().startsWith('/'),
  /** A tap in that namespace which the VM's `qemuUser` may open. */
  tapName: z.string().max(15),
  guestAddress: z.ipv4(),
  /** For a guest that starts; absent: it has no IPv6. */
  guestAddress6: z.ipv6().optional(),
  gateway: z.ipv4(),
  mtu: z.int().min(1280).max(9216),
  dns: z.array(z.ipv4()).max(3),
});
export type VmNetwork = Readonly<z.infer<typeof VmNetwork>>;

export const VmStart = z.object({
  vmId: VmId,
  class: InstanceClass,
  pool: PoolSpec,
  /** Artifact folders, complete and verified. They and the VM's folder are readable by everybody. */
  imageDir: z.string().startsWith('/'),
  templateDir: z.string().startsWith('/'),
  /** Made by the driver; every parent must be traversable by everybody. */
  vmDir: z.string().startsWith('/'),
  network: VmNetwork,
  fleet: z.string().regex(/^[a-z0-9]{1,12}$/),
  /** Names the VM's control group; differs between hosts that share a machine. Default: `vmId`. */
  place: z
    .string()
    .regex(/^[a-z0-9.-]{1,80}$/)
    .optional(),
});
export type VmStart = Readonly<z.infer<typeof VmStart>>;

/** What the VM's machine has become since its template: whoever takes it over must build the same. */
export const VmMachine = z.object({
  diskBytes: z.int().min(1),
  plugged: PluggedHardware,
  generationId: z.guid(),
});
export type VmMachine = Readonly<z.infer<typeof VmMachine>>;

/** Host's wall clock, milliseconds since 1970, with fractions; null until reached. */
export const StartTimes = z.object({
  decidedAtMs: z.number().nullable(),
  spawnedAtMs: z.number().nullable(),
  qmpReadyAtMs: z.number().nullable(),
  loadedAtMs: z.number().nullable(),
  /** The guest agent's first answer. */
  guestAnsweredAtMs: z.number().nullable(),
  idleAtMs: z.number().nullable(),
});
export type StartTimes = Readonly<z.infer<typeof StartTimes>>;

/** The report without what only the caller knows: the token's epoch. */
export type VmSnapshot = Omit<VmReport, 'epoch'>;

/** A grown VM and the way to its QEMU and guest, lent to whoever tracks or moves it. */
export interface LiveVm {
  /** What a host that takes the VM over has to know of its life so far; holds no secret. */
  readonly memory: VmMemory;
  readonly machine: VmMachine;
  readonly qmp: QmpClient;
  readonly guest: GuestAgent;
}

export interface AssignedJob {
  readonly jobId: JobId;
  readonly jitConfig: string;
  /** For the job's log; unset: nothing is said there. */
  readonly about?: string | undefined;
}

export interface VmDriver {
  readonly vmId: VmId;
  snapshot(): VmSnapshot;
  /** Undefined before the VM is grown, after its end, and while its QEMU cannot be reached. */
  live(): LiveVm | undefined;
  times(): StartTimes;
  /** Hands the job's runner in. Again for the same job: taken, without a second effect. */
  assign(job: AssignedJob): Promise<AgentOutcome>;
  /** Its machine is this by now; settles when that is on disk. */
  resized(now: Pick<VmStart, 'class'> & Pick<VmMachine, 'plugged'>): Promise<void>;
  /** Ends the VM for good and removes what it used. Idempotent; settles when all is gone. */
  stop(why: string): Promise<void>;
  /** Calls back after each change of the snapshot; answers how to unsubscribe. */
  onChange(listener: () => void): () => void;
  /** The agent ends, the VM goes on: closes connections and timers, touches nothing else. */
  detach(): void;
  /** Settles when all that the driver knows so far is on disk. */
  flushed(): Promise<void>;
}

export interface AdoptHow {
  /** The VM's token is here. */
  readonly mayRun: boolean;
}

export interface DriverContext {
  readonly logger: Logger;
}
