/** What every executor is: from a step to the records that announce it, and what is left to do. */
import type { Logger } from 'pino';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { JobShare } from '../planner/observed.ts';
import type { Step, StepKind } from '../planner/step.ts';
import type { JobBook } from '../records/apply-job-facts.ts';
import type { JobRecord, VmRecord } from '../records/records.ts';
import type { Fleet, JobNotices, JobSource, Keys, Machines, PoolSource, Runners } from './ports.ts';

export interface ExecutorPorts extends JobBook {
  readonly fleet: Fleet;
  readonly runners: Runners;
  readonly notices: JobNotices;
  readonly jobSource: JobSource;
  readonly pools: PoolSource;
  /** By the operator's policy. */
  readonly shareOf: (job: JobRecord) => JobShare;
  readonly keys: Keys;
  /** Unset: nobody can say for sure that a host is gone. */
  readonly machines?: Machines;
  /** Hosts that are to be given back: drained, as if the operator had said so. */
  readonly emptying?: () => ReadonlySet<HostId>;
  readonly now: () => number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

type Steps = { readonly [S in Step as S['kind']]: S };
export type StepOf<K extends StepKind> = { readonly [P in K]: { readonly kind: P } & Steps[P] }[K];
/** What is left to do; undefined: the world moved on and the step is moot. */
export type SlowPart = (() => Promise<void>) | undefined;
export type Executors = {
  readonly [K in StepKind]: (ports: ExecutorPorts, step: StepOf<K>) => Promise<SlowPart>;
};

/** Undefined when there is no such record (any more). */
export async function changeVm(
  ports: Pick<ExecutorPorts, 'store' | 'evidence' | 'now'>,
  vmId: VmRecord['id'],
  change: (vm: VmRecord) => VmRecord,
): Promise<VmRecord | undefined> {
  const vm = await ports.store.updateVm(vmId, ports.now(), (stored) => {
    if (stored === undefined) return undefined;
    const changed = change(stored);
    return changed === stored ? undefined : changed;
  });
  if (vm !== undefined) {
    ports.evidence.rememberVm(vm);
    await ports.evidence.written();
  }
  return vm;
}
