/**
 * What a plan is made of. A step leaves no choice to its executor: every id in it was chosen by the
 * planner, and running it twice does no more than running it once.
 */
import type { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { VmSize } from '../../host-agent/protocol/resize-messages.ts';

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
      /** Whose limits the registration counts for. */
      readonly installationId: number;
      readonly owner: string;
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
  | { readonly kind: 'lose-job'; readonly jobId: JobId; readonly cause: string }
  /** Records the attempt, then brings source and target together. */
  | {
      readonly kind: 'move-vm';
      readonly migrationId: MigrationId;
      readonly vmId: VmId;
      readonly from: HostId;
      readonly to: HostId;
      readonly epoch: number;
      readonly deadlineMs: number;
      /** The guest's CPU is limited to this share so that its writes fit the link; 1: not at all. */
      readonly cpuShare: number;
      readonly because: string;
    }
  /** Asks those of the two that are given; a source that gave the token refuses. */
  | {
      readonly kind: 'abort-migration';
      readonly migrationId: MigrationId;
      readonly vmId: VmId;
      readonly source: HostId | undefined;
      readonly target: HostId | undefined;
      readonly why: string;
    }
  /** Into the store, stopped; it is resumed on the next host with room. */
  | {
      readonly kind: 'park-vm';
      readonly migrationId: MigrationId;
      readonly vmId: VmId;
      readonly from: HostId;
      readonly epoch: number;
      readonly deadlineMs: number;
      readonly because: string;
    }
  /** Out of the store: where it was parked, or from its last checkpoint after a sudden death. */
  | {
      readonly kind: 'resume-vm';
      readonly migrationId: MigrationId;
      readonly vmId: VmId;
      readonly from: HostId;
      readonly to: HostId;
      readonly epoch: number;
      readonly how: 'parked' | 'rewound';
      readonly because: string;
    }
  /** Nobody can be asked any more: only the record is closed. */
  | {
      readonly kind: 'end-migration';
      readonly migrationId: MigrationId;
      readonly vmId: VmId;
      readonly phase: 'done' | 'aborted' | 'lost';
      readonly why: string;
    }
  | {
      readonly kind: 'end-wish';
      readonly migrationId: MigrationId;
      readonly vmId: VmId;
      readonly why: string;
    }
  /** A running VM, where it is. */
  | {
      readonly kind: 'resize-vm';
      readonly vmId: VmId;
      readonly hostId: HostId;
      readonly size: VmSize;
    }
  /** Its job is told that it stays as it is. */
  | { readonly kind: 'end-resize'; readonly vmId: VmId; readonly why: string }
  /** A host may forget a VM that has left it. */
  | { readonly kind: 'forget-copy'; readonly vmId: VmId; readonly hostId: HostId };

export type StepKind = Step['kind'];
