/**
 * What a plan is made of. A step leaves no choice to its executor: every id in it was chosen by the
 * planner, and running it twice does no more than running it once.
 */
import type { HostId, JobId, VmId } from '../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';

export type Step =
  /** Records the VM, then asks the host to start it. */
  | {
      readonly kind: 'start-vm';
      readonly vmId: VmId;
      readonly hostId: HostId;
      readonly jobId: JobId;
      readonly class: InstanceClass;
    }
  /** Mints the JIT configuration and hands it in. */
  | {
      readonly kind: 'assign-job';
      readonly vmId: VmId;
      readonly hostId: HostId;
      readonly jobId: JobId;
    }
  | {
      readonly kind: 'stop-vm';
      readonly vmId: VmId;
      readonly hostId: HostId;
      readonly why: string;
    }
  /** The VM has ended: remove its GitHub runner if one is left (never a busy one) and its record. */
  | {
      readonly kind: 'forget-vm';
      readonly vmId: VmId;
      readonly hostId: HostId;
      readonly runnerId: number | undefined;
    }
  /** Its VM died after `in_progress`, or no VM could run it: recorded with its cause, shown to the user. */
  | { readonly kind: 'lose-job'; readonly jobId: JobId; readonly cause: string };

export type StepKind = Step['kind'];
