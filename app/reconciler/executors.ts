/**
 * How each step is carried out. An executor first writes what it is about to do (awaited by the
 * tick, so that the next plan sees it), then answers the slow part, which runs beside later ticks.
 *
 *   start-vm    record, count it for the job → ask the host
 *   assign-job  record the job → mint → record the runner → hand the configuration in
 *               refused by the host: the runner is removed, the VM stopped
 *   stop-vm     a minted runner that GitHub did not call busy is removed first; a busy one stays
 *   forget-vm   remove the runner, unless its job is over → tell the host → delete the record
 *   lose-job    GitHub is asked once more → recorded with its cause → the author is told
 *               its runner ended and GitHub does not show it → it is over, how nobody can say
 *               its runner ended and GitHub cannot be asked → later
 *   what moves VMs: migration-executors.ts, store-executors.ts; what resizes them: resize-executors.ts
 *
 * Nothing here retries: what fails is thrown, logged at the top, and planned again. Dropping the
 * process between any two writes leaves a state that the planner knows a next step for.
 * The JIT configuration is in no log, record or error.
 */
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import type { JobId } from '../../host-agent/protocol/ids.ts';
import { describePlacement } from '../guests/describe-placement.ts';
import { refusesRerun, wantsRewind } from '../labels/classify-job.ts';
import type { StepKind } from '../planner/step.ts';
import { applyJobFacts } from '../records/apply-job-facts.ts';
import { endUnseen } from '../records/job-state.ts';
import { type JobRecord, runnerNameOf, type VmRecord } from '../records/records.ts';
import { whyLost } from '../records/why-lost.ts';
import {
  changeVm,
  type ExecutorPorts,
  type Executors,
  type SlowPart,
  type StepOf,
} from './executor.ts';
import { noteLease } from './lease-keeper.ts';
import {
  abortMigration,
  endMigration,
  endWish,
  forgetCopy,
  moveVm,
} from './migration-executors.ts';
import { endResize, resizeVm } from './resize-executors.ts';
import { parkVm, resumeVm } from './store-executors.ts';

/** Thrown so that the job's next start waits a moment: the next host may be the same one. */
export class StartRefusedError extends ArchitectError {
  readonly code = 'START_REFUSED';
  readonly retry = 'later';
}

/** Thrown so that its VM's runner, which has ended, is not held for a loss. */
export class JobUnheardError extends ArchitectError {
  readonly code = 'JOB_UNHEARD';
  readonly retry = 'later';
}

export class RunnerBusyError extends ArchitectError {
  readonly code = 'RUNNER_BUSY';
  readonly retry = 'later';
}

export const EXECUTORS: Executors = {
  'start-vm': startVm,
  'assign-job': assignJob,
  'stop-vm': stopVm,
  'forget-vm': forgetVm,
  'lose-job': loseJob,
  'move-vm': moveVm,
  'abort-migration': abortMigration,
  'park-vm': parkVm,
  'resume-vm': resumeVm,
  'end-migration': endMigration,
  'end-wish': endWish,
  'forget-copy': forgetCopy,
  'resize-vm': resizeVm,
  'end-resize': endResize,
};

export function prepareStep<K extends StepKind>(
  executors: Executors,
  ports: ExecutorPorts,
  step: StepOf<K>,
): Promise<SlowPart> {
  return executors[step.kind](ports, step);
}

async function startVm(ports: ExecutorPorts, step: StepOf<'start-vm'>): Promise<SlowPart> {
  const nowMs = ports.now();
  let vm = await ports.store.readVm(step.vmId);
  if (vm === undefined) {
    const job = await ports.store.updateJob(step.jobId, nowMs, (stored) =>
      stored?.state === 'queued' ? { ...stored, vmsStarted: stored.vmsStarted + 1 } : undefined,
    );
    if (job?.state !== 'queued') return undefined;
    ports.evidence.rememberJob(job);
    ports.evidence.moment(step.jobId, 'vm-requested', nowMs);
    vm = await recordNewVm(ports, step, { nowMs, rewindable: wantsRewind(job.labels) });
  }
  const { wrappedKey, rewindable } = vm;
  const network = networkOf(ports, vm);
  const pool = vm.pool ?? ports.pools.pool();
  return async () => {
    const { vmId, hostId, class: size } = step;
    const key = wrappedKey === null ? undefined : ports.keys.unwrap(vmId, wrappedKey);
    if (rewindable) await noteLease(ports, { vmId, hostId, epoch: 1 });
    const start = { kind: 'start-vm', vmId, class: size, pool, key, rewindable } as const;
    const request = { ...start, ...(network && { network }) };
    const outcome = await ports.fleet.request(hostId, request, ports.signal);
    if (outcome.kind === 'taken') return;
    await changeVm(ports, vmId, (vm) => ({
      ...vm,
      phase: 'failed',
      phaseSinceMs: ports.now(),
      why: `The host refused it: ${outcome.why}`.slice(0, 500),
    }));
    throw new StartRefusedError(`The host ${hostId} refused the VM ${vmId}: ${outcome.why}`);
  };
}

function networkOf({ gateways }: ExecutorPorts, vm: VmRecord) {
  const network = gateways?.networkNow(vm.network) ?? vm.network;
  if (network === null) return null;
  const { guestAddress, gatewayAddress: gateway, ipv6 } = network;
  return { guestAddress, gateway, ...(ipv6 !== undefined && { ipv6 }) };
}

async function recordNewVm(
  ports: ExecutorPorts,
  step: StepOf<'start-vm'>,
  { nowMs, rewindable }: { readonly nowMs: number; readonly rewindable: boolean },
): Promise<VmRecord> {
  const record: VmRecord = {
    id: step.vmId,
    generation: 1,
    hostId: step.hostId,
    phase: 'allocating',
    class: step.class,
    forJob: step.jobId,
    runsJob: null,
    runnerId: null,
    runnerName: null,
    qemuPid: null,
    guestKernel: null,
    accelerator: null,
    phaseSinceMs: nowMs,
    createdAtMs: nowMs,
    why: null,
    runnerWord: null,
    epoch: 1,
    lastEpoch: 1,
    rewindable,
    wrappedKey: ports.keys.issue(step.vmId).wrapped,
    lastCheckpointAtMs: null,
    leaseUntilMs: null,
    held: null,
    resize: null,
    pool: ports.pools.pool(),
    network: (await ports.gateways?.assign(step.vmId)) ?? null,
  };
  ports.evidence.rememberVm(record);
  await ports.evidence.written();
  await ports.store.putVm(record, nowMs);
  return record;
}

/** The plan may be of a look from before the VM's configuration was handed in. */
async function assignJob(ports: ExecutorPorts, step: StepOf<'assign-job'>): Promise<SlowPart> {
  const job = await ports.store.readJob(step.jobId);
  const known = await ports.store.readVm(step.vmId);
  if (job?.state !== 'queued' || known?.phase !== 'idle') return undefined;
  const vm = await changeVm(ports, step.vmId, (stored) => ({ ...stored, forJob: step.jobId }));
  return vm === undefined ? undefined : () => mintAndHandIn(ports, step, job);
}

async function mintAndHandIn(
  ports: ExecutorPorts,
  { vmId, hostId, jobId }: StepOf<'assign-job'>,
  job: JobRecord,
): Promise<void> {
  const { origin, labels } = job;
  const runnerName = runnerNameOf(vmId);
  const minted = await ports.runners.mint({ origin, labels, runnerName });
  if (minted.kind === 'refused') return refuseJob(ports, job, minted.why);
  const { runnerId, jitConfig } = minted;
  const vm = await changeVm(ports, vmId, (stored) => ({ ...stored, runnerId, runnerName }));
  const about = vm === undefined ? undefined : aboutVm(ports, vm);
  const request = { kind: 'assign-job', vmId, jobId, jitConfig, about } as const;
  const outcome = await ports.fleet.request(hostId, request, ports.signal);
  if (outcome.kind === 'taken') {
    const nowMs = ports.now();
    await changeVm(ports, vmId, (vm) =>
      vm.phase === 'idle' ? { ...vm, phase: 'assigned', phaseSinceMs: nowMs } : vm,
    );
    ports.evidence.moment(jobId, 'runner-assigned', nowMs);
    return ports.evidence.written();
  }
  ports.logger.warn({ vmId, hostId, jobId, why: outcome.why }, 'host refused the job');
  if ((await ports.runners.remove(origin, runnerId)) === 'busy') return;
  const why = `It refused its job: ${outcome.why}`.slice(0, 500);
  await ports.fleet.request(hostId, { kind: 'stop-vm', vmId, why }, ports.signal);
}

function aboutVm(ports: ExecutorPorts, vm: VmRecord): string {
  const host = ports.fleet.hosts().find(({ id }) => id === vm.hostId);
  const prices = ports.evidence.pricesOf(vm.hostId);
  return describePlacement({ vm, host, prices, nowMs: ports.now() });
}

/** Its VM is spare then: the planner gives it to another job, or stops it. */
async function refuseJob(ports: ExecutorPorts, { id }: JobRecord, why: string): Promise<void> {
  const job = await ports.store.updateJob(id, ports.now(), (stored) =>
    stored?.state === 'queued' ? { ...stored, state: 'refused', why } : undefined,
  );
  if (job?.state !== 'refused') return;
  ports.evidence.rememberJob(job);
  await ports.evidence.written();
  ports.logger.warn({ jobId: id, why }, 'a job is refused');
  await ports.notices.refused(job, why);
}

async function stopVm(ports: ExecutorPorts, step: StepOf<'stop-vm'>): Promise<SlowPart> {
  const { vmId, hostId, why } = step;
  const vm = await ports.store.readVm(vmId);
  return async () => {
    if (vm !== undefined) await removeIdleRunner(ports, vm);
    ports.logger.info({ vmId, hostId, jobId: vm?.runsJob ?? vm?.forJob, why }, 'stopping the VM');
    const outcome = await ports.fleet.request(hostId, { kind: 'stop-vm', vmId, why }, ports.signal);
    const nowMs = ports.now();
    const phase = outcome.kind === 'taken' ? 'draining' : 'stopped';
    await changeVm(ports, vmId, (stored) => {
      const ended = stored.phase === 'stopped' || stored.phase === 'failed';
      return ended || stored.phase === phase ? stored : { ...stored, phase, phaseSinceMs: nowMs };
    });
  };
}

/**
 * A runner that waits for a job may be given one at any moment. Removing it decides that on
 * GitHub's side; if it is busy by now, the VM stays, and its own job gets another if that is not what
 * it is busy with: throws RunnerBusyError.
 */
async function removeIdleRunner(ports: ExecutorPorts, vm: VmRecord): Promise<void> {
  if (vm.runnerId === null || vm.runsJob !== null || vm.phase === 'draining') return;
  const origin = await originOf(ports, vm.forJob);
  if (origin === undefined) return;
  if ((await ports.runners.remove(origin, vm.runnerId)) !== 'busy') return;
  if (vm.forJob !== null) await refreshJob(ports, vm.forJob);
  const job = vm.forJob === null ? undefined : await ports.store.readJob(vm.forJob);
  if (job?.state === 'queued')
    await changeVm(ports, vm.id, (stored) => ({ ...stored, runnerWord: 'taken' }));
  throw new RunnerBusyError(`The VM ${vm.id} stays: GitHub has given its runner a job.`);
}

async function forgetVm(ports: ExecutorPorts, step: StepOf<'forget-vm'>): Promise<SlowPart> {
  const { vmId, hostId, runnerId } = step;
  const vm = await ports.store.readVm(vmId);
  return async () => {
    const origin = runnerId === undefined ? undefined : await originOf(ports, vm?.forJob ?? null);
    if (origin !== undefined && runnerId !== undefined && !(await isSpent(ports, vm)))
      await ports.runners.remove(origin, runnerId);
    const host = ports.fleet.hosts().find((one) => one.id === hostId);
    if (host?.state === 'connected')
      await ports.fleet.request(hostId, { kind: 'forget-vm', vmId }, ports.signal);
    if (vm === undefined) return;
    const ended = vm.phase === 'stopped' || vm.phase === 'failed';
    const last: VmRecord = ended
      ? vm
      : { ...vm, phase: 'failed', why: vm.why ?? 'It was held for dead.' };
    ports.evidence.rememberVm(last);
    await ports.evidence.written();
    await ports.store.deleteVm(vmId);
  };
}

/**
 * GitHub itself takes a runner off its list when its one job is over; to ask for it would cost as
 * much of the limits as registering the next. Should it be left all the same, the poll finds it.
 */
async function isSpent(
  { store, evidence }: ExecutorPorts,
  vm: VmRecord | undefined,
): Promise<boolean> {
  const jobId = vm?.runsJob ?? undefined;
  if (jobId === undefined) return false;
  const job = (await store.readJob(jobId)) ?? evidence.readJob(jobId);
  return job?.state === 'completed' && job.conclusion !== null;
}

async function loseJob(ports: ExecutorPorts, step: StepOf<'lose-job'>): Promise<SlowPart> {
  const { jobId } = step;
  return async () => {
    const before = await ports.store.readJob(jobId);
    const cause = (await rememberedCause(ports, before)) ?? step.cause;
    const runnerEnded = hasEndedRunner(ports, before);
    const word = await refreshJob(ports, jobId);
    if (word === 'later' && runnerEnded)
      throw new JobUnheardError(`The job ${jobId} has ended, and GitHub cannot say how as yet.`);
    const nowMs = ports.now();
    let lostNow = false;
    const job = await ports.store.updateJob(jobId, nowMs, (stored) => {
      lostNow = isOpen(stored) && stored?.state === before?.state;
      if (stored === undefined || !lostNow) return undefined;
      if (word === 'none' && runnerEnded) return endUnseen(stored, nowMs);
      const rerun = rerunOf(ports, stored);
      const why = whyLost(cause, { ...stored, rerun });
      return { ...stored, state: 'lost', why, lostAtMs: nowMs, rerun };
    });
    if (job === undefined || !lostNow) return;
    ports.evidence.rememberJob(job);
    await ports.evidence.written();
    if (job.state !== 'lost') return;
    ports.logger.error({ jobId, vmId: job.vmId, cause }, 'the job is lost');
    await ports.notices.lost(job, job.why ?? cause);
  };
}

/** One that never ran is still queued on GitHub: there is nothing to run again. */
function rerunOf({ rerunLost }: ExecutorPorts, job: JobRecord): JobRecord['rerun'] {
  const isWanted = rerunLost === true && job.state === 'in-progress' && !refusesRerun(job.labels);
  return isWanted ? 'wanted' : null;
}

/** GitHub's `in_progress` may come after its VM's end was settled: the evidence still knows why. */
async function rememberedCause(
  { store, evidence }: ExecutorPorts,
  job: JobRecord | undefined,
): Promise<string | undefined> {
  const vmId = job?.vmId ?? undefined;
  if (vmId === undefined || (await store.readVm(vmId)) !== undefined) return undefined;
  return evidence.readVm(vmId)?.why ?? undefined;
}

function isOpen(job: JobRecord | undefined): boolean {
  return job?.state === 'in-progress' || job?.state === 'queued';
}

/** By its host's word; a host that does not answer has not said so. */
function hasEndedRunner({ fleet }: ExecutorPorts, job: JobRecord | undefined): boolean {
  return fleet
    .hosts()
    .flatMap(({ report }) => report?.vms ?? [])
    .some(({ vmId, runner }) => vmId === job?.vmId && runner.state === 'exited');
}

/**
 * GitHub's word now; when GitHub cannot be asked, what we know stands. `none`: GitHub shows no such job
 * to us, as when the App was removed there. `later`: it may be asked again.
 */
async function refreshJob(ports: ExecutorPorts, jobId: JobId): Promise<'known' | 'none' | 'later'> {
  const job = await ports.store.readJob(jobId);
  if (job === undefined) return 'known';
  try {
    const facts = await ports.jobSource.readJob(job.origin, jobId);
    if (facts === undefined) return 'none';
    await applyJobFacts(ports, facts, ports.now());
  } catch (error) {
    ports.logger.warn({ jobId, err: error }, 'GitHub could not be asked about the job');
    if (error instanceof ArchitectError && error.retry === 'later') return 'later';
  }
  return 'known';
}

async function originOf(
  ports: ExecutorPorts,
  jobId: JobId | null,
): Promise<JobRecord['origin'] | undefined> {
  if (jobId === null) return undefined;
  return ((await ports.store.readJob(jobId)) ?? ports.evidence.readJob(jobId))?.origin;
}
