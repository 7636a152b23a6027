/**
 * How VMs go into the chunk store and come out of it.
 *
 *   park-vm     epoch taken → recorded → source: park-vm; refused: the attempt is over, with why
 *   resume-vm   recorded with its target → target: resume-vm
 *               refused: it waits in the store for another host, which gets a higher epoch
 *
 * A rewind is judged again after its epoch was taken: until no run lease can be in force, nobody is asked,
 * and the planner brings the step up again. A host that does not answer may have resumed the VM: it alone is asked again, with the same epoch.
 */
import { judgeRewind } from '../authority/rewind.ts';
import { isOpenMove, type MigrationRecord, newMigration } from '../records/migration-record.ts';
import { couldNotResume, endMove } from '../records/migration-state.ts';
import type { VmRecord } from '../records/records.ts';
import type { ExecutorPorts, SlowPart, StepOf } from './executor.ts';
import { noteLease } from './lease-keeper.ts';
import { arrivalOf } from './migration-executors.ts';
import { changeMigration, claimEpoch, recordMigration } from './migration-records.ts';

/** The agents give up resuming by themselves; this only fills the record's field. */
const RESUME_LIMIT_MS = 300_000;

export async function parkVm(ports: ExecutorPorts, step: StepOf<'park-vm'>): Promise<SlowPart> {
  const { migrationId: id, vmId, from, epoch, deadlineMs, because } = step;
  const vm = await claimEpoch(ports, vmId, epoch);
  if (vm === undefined || vm.wrappedKey === null) return undefined;
  const jobId = vm.runsJob ?? vm.forJob;
  const given = { id, vmId, jobId, from, epoch, because, deadlineMs };
  await recordMigration(ports, newMigration({ ...given, kind: 'park', to: null }, ports.now()));
  ports.logger.info({ migrationId: id, vmId, from, because }, 'parking the VM');
  return async () => {
    const request = {
      kind: 'park-vm',
      vmId,
      epoch,
      deadlineMs,
      why: because.slice(0, 500),
    } as const;
    const outcome = await ports.fleet.request(from, request, ports.signal);
    if (outcome.kind === 'taken') return;
    const why = `${from} refused to park it: ${outcome.why}`;
    await changeMigration(ports, id, (stored) =>
      isOpenMove(stored) ? endMove(stored, { phase: 'aborted', why }, ports.now()) : undefined,
    );
  };
}

export async function resumeVm(ports: ExecutorPorts, step: StepOf<'resume-vm'>): Promise<SlowPart> {
  const { migrationId, vmId, to, epoch, how, because } = step;
  const vm = await ports.store.readVm(vmId);
  if (vm === undefined || vm.wrappedKey === null) return undefined;
  if (!(await announce(ports, step, vm))) return undefined;
  ports.logger.info({ migrationId, vmId, to, epoch, how, because }, 'resuming the VM');
  return async () => {
    if (how === 'rewound' && !(await canRewind(ports, step))) return;
    if (vm.rewindable) await noteLease(ports, { vmId, hostId: to, epoch });
    const request = { kind: 'resume-vm', from: how, ...arrivalOf(ports, vm), vmId, epoch } as const;
    const outcome = await ports.fleet.request(to, request, ports.signal);
    if (outcome.kind === 'taken') return;
    ports.logger.warn({ migrationId, vmId, to, why: outcome.why }, 'the host cannot resume the VM');
    await changeMigration(ports, migrationId, (stored) =>
      stored.phase === 'resuming' && stored.epoch === epoch
        ? { ...couldNotResume(stored, ports.now()), why: `${to}: ${outcome.why}`.slice(0, 500) }
        : undefined,
    );
  };
}

/** No copy of it can run: by the provider's word, or by the last lease that was noted. */
async function canRewind(ports: ExecutorPorts, step: StepOf<'resume-vm'>): Promise<boolean> {
  const vm = await ports.store.readVm(step.vmId);
  const nowMs = ports.now();
  const source = ports.fleet.hosts().find(({ id }) => id === step.from);
  const isGone = source?.state === 'away' && ports.machines?.isGone(source) === true;
  const judgement = judgeRewind({
    leaseUntilMs: vm?.leaseUntilMs ?? undefined,
    notedSinceMs: nowMs,
    holders: [step.from],
    gone: new Set(isGone ? [step.from] : []),
    nowMs,
  });
  if (judgement.kind === 'rewind') return true;
  const { untilMs } = judgement;
  ports.logger.warn(
    { vmId: step.vmId, untilMs },
    'a copy of the VM may still run: not rewound yet',
  );
  return false;
}

/** False when the world moved on. Asking the same host once more with the same epoch changes nothing. */
async function announce(
  ports: ExecutorPorts,
  step: StepOf<'resume-vm'>,
  vm: VmRecord,
): Promise<boolean> {
  const known = await ports.store.readMigration(step.migrationId);
  if (known?.phase === 'resuming') return known.to === step.to && known.epoch === step.epoch;
  const isFirstOfPark = known?.kind === 'park' && known.epoch === step.epoch;
  const claimed = isFirstOfPark || (await claimEpoch(ports, vm.id, step.epoch)) !== undefined;
  if (!claimed) return false;
  if (known === undefined) {
    await recordRewind(ports, step, vm);
    return true;
  }
  const changed = await changeMigration(ports, known.id, (stored) =>
    isWaiting(stored) ? resumingOn(stored, step, ports.now()) : undefined,
  );
  return changed?.phase === 'resuming' && changed.epoch === step.epoch;
}

function isWaiting({ phase }: MigrationRecord): boolean {
  return phase === 'parked' || phase === 'parking';
}

function resumingOn(
  stored: MigrationRecord,
  { to, epoch }: StepOf<'resume-vm'>,
  nowMs: number,
): MigrationRecord {
  const unconfirmed = stored.unconfirmed || stored.phase === 'parking';
  const stoppedAtMs = stored.stoppedAtMs ?? nowMs;
  return { ...stored, phase: 'resuming', to, epoch, unconfirmed, stoppedAtMs, phaseSinceMs: nowMs };
}

async function recordRewind(
  ports: ExecutorPorts,
  step: StepOf<'resume-vm'>,
  vm: VmRecord,
): Promise<void> {
  const { migrationId: id, vmId, from, to, epoch, because } = step;
  const nowMs = ports.now();
  const jobId = vm.runsJob ?? vm.forJob;
  const deadlineMs = nowMs + RESUME_LIMIT_MS;
  const given = { id, vmId, jobId, from, to, epoch, because, deadlineMs };
  const stoppedAtMs = vm.lastCheckpointAtMs;
  await recordMigration(ports, {
    ...newMigration({ ...given, kind: 'rewind' }, nowMs),
    stoppedAtMs,
  });
}
