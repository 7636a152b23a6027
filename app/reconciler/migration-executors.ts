/**
 * How live moves are carried out.
 *
 *   move-vm          epoch taken → recorded → target: receive-vm → (the VM's gateway is told)
 *                    → source: send-vm
 *                    refused by either: the other is told to let go, the attempt is over, with why
 *   abort-migration  source, then target; a source that gave the token refuses, and nothing changes
 *   end-migration    nobody is asked
 *
 * The credential of an attempt is made here, goes to the two agents, and is kept nowhere: an attempt
 * that was cut off between the two requests is not gone on with, but aborted (its source does not know
 * it), and another one is planned.
 */
import { randomBytes } from 'node:crypto';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { PeerEndpoint } from '../../host-agent/protocol/migration-messages.ts';
import { isOpenMove, type MigrationRecord, newMigration } from '../records/migration-record.ts';
import { endMove } from '../records/migration-state.ts';
import type { VmRecord } from '../records/records.ts';
import { changeVm, type ExecutorPorts, type SlowPart, type StepOf } from './executor.ts';
import { changeMigration, claimEpoch, recordMigration } from './migration-records.ts';

const CREDENTIAL_BYTES = 32;

export class AbortRefusedError extends ArchitectError {
  readonly code = 'ABORT_REFUSED';
  readonly retry = 'later';
}

export async function moveVm(ports: ExecutorPorts, step: StepOf<'move-vm'>): Promise<SlowPart> {
  const { migrationId: id, vmId, from, to, epoch, because, deadlineMs } = step;
  const vm = await claimEpoch(ports, vmId, epoch);
  if (vm === undefined || vm.wrappedKey === null) return undefined;
  const nowMs = ports.now();
  const jobId = vm.runsJob ?? vm.forJob;
  const given = { id, vmId, jobId, kind: 'live' as const, from, to, epoch, because, deadlineMs };
  if (jobId !== null) ports.evidence.moment(jobId, 'moving', nowMs);
  markBegun(ports, id);
  await recordMigration(ports, newMigration(given, nowMs));
  return () => bringTogether(ports, step, vm);
}

async function bringTogether(
  ports: ExecutorPorts,
  step: StepOf<'move-vm'>,
  vm: VmRecord,
): Promise<void> {
  const { migrationId, vmId, from, to, epoch, deadlineMs, cpuShare } = step;
  const credential = randomBytes(CREDENTIAL_BYTES).toString('base64');
  ports.logger.info({ migrationId, vmId, from, to, epoch, because: step.because }, 'moving the VM');
  const room = await reserve(ports, step, { vm, credential });
  if (room.kind === 'refused') return over(ports, step, `${to} refused it: ${room.why}`);
  const flipAt = await ports.gateways?.announce({ vm, migrationId, credential });
  const outcome = await ports.fleet.request(
    from,
    {
      kind: 'send-vm',
      ...{ migrationId, vmId, epoch, to, peer: room.peer, credential, deadlineMs, cpuShare },
      ...(flipAt && { flipAt }),
    },
    ports.signal,
  );
  if (outcome.kind === 'taken') return;
  const why = `${from} refused to send it: ${outcome.why}`.slice(0, 500);
  await ports.fleet.request(to, { kind: 'abort-migration', migrationId, vmId, why }, ports.signal);
  await over(ports, step, why);
}

async function reserve(
  ports: ExecutorPorts,
  { migrationId, vmId, from, to, epoch, deadlineMs }: StepOf<'move-vm'>,
  { vm, credential }: { readonly vm: VmRecord; readonly credential: string },
): Promise<
  | { readonly kind: 'reserved'; readonly peer: PeerEndpoint }
  | { readonly kind: 'refused'; readonly why: string }
> {
  const outcome = await ports.fleet.request(
    to,
    {
      kind: 'receive-vm',
      migrationId,
      from,
      credential,
      deadlineMs,
      ...arrivalOf(ports, vm, from),
      vmId,
      epoch,
    },
    ports.signal,
  );
  if (outcome.kind === 'refused') return outcome;
  if (outcome.peer !== undefined) return { kind: 'reserved', peer: outcome.peer };
  return { kind: 'refused', why: 'it named no address for its peer' };
}

/** What a host must be told of a VM that it has never seen. `from`: of a live move. */
export function arrivalOf(ports: ExecutorPorts, vm: VmRecord, from?: HostId) {
  if (vm.wrappedKey === null) throw new Error(`The VM ${vm.id} has no key.`);
  const stragglersFrom = ports.fleet.hosts().find(({ id }) => id === from)?.facts?.underlay;
  const network = ports.gateways?.networkNow(vm.network) ?? vm.network;
  const gateway = network?.gatewayAddress;
  return {
    ...(gateway && { network: { gateway, ...(stragglersFrom && { stragglersFrom }) } }),
    class: vm.class,
    pool: vm.pool ?? ports.pools.pool(),
    assignedJob: vm.forJob,
    key: ports.keys.unwrap(vm.id, vm.wrappedKey),
    rewindable: vm.rewindable,
  };
}

async function over(
  ports: ExecutorPorts,
  { migrationId, vmId }: StepOf<'move-vm'>,
  why: string,
): Promise<void> {
  ports.logger.warn({ migrationId, vmId, why }, 'the move was refused');
  await closeMigration(ports, migrationId, { phase: 'aborted', why });
}

export async function abortMigration(
  ports: ExecutorPorts,
  step: StepOf<'abort-migration'>,
): Promise<SlowPart> {
  const { migrationId, vmId, source, target, why } = step;
  const migration = await ports.store.readMigration(migrationId);
  if (migration === undefined || !isOpenMove(migration)) return undefined;
  const ask = async (hostId: HostId): Promise<void> => {
    const request = { kind: 'abort-migration', migrationId, vmId, why } as const;
    const outcome = await ports.fleet.request(hostId, request, ports.signal);
    if (outcome.kind === 'refused')
      throw new AbortRefusedError(`${hostId} does not abort ${migrationId}: ${outcome.why}`);
  };
  return async () => {
    if (source !== undefined) await ask(source);
    // The source runs on: whatever its target says now, it can only be late.
    const closing = () => closeMigration(ports, migrationId, { phase: 'aborted', why });
    if (source !== undefined) await closing();
    if (target !== undefined) await ask(target);
    if (source === undefined) await closing();
  };
}

export async function endMigration(
  ports: ExecutorPorts,
  { migrationId, phase, why }: StepOf<'end-migration'>,
): Promise<SlowPart> {
  const ended = await closeMigration(ports, migrationId, { phase, why });
  const isSpent = ended?.kind === 'rewind' && ended.phase === 'lost';
  // Nothing more is tried with this checkpoint.
  if (isSpent) await changeVm(ports, ended.vmId, (vm) => ({ ...vm, rewindable: false }));
  return undefined;
}

/** What has ended by another word meanwhile stays as it is. */
async function closeMigration(
  ports: ExecutorPorts,
  id: MigrationRecord['id'],
  end: Parameters<typeof endMove>[1],
): Promise<MigrationRecord | undefined> {
  return await changeMigration(ports, id, (stored) =>
    isOpenMove(stored) ? endMove(stored, end, ports.now()) : undefined,
  );
}

export async function endWish(
  { evidence }: ExecutorPorts,
  { migrationId, why }: StepOf<'end-wish'>,
): Promise<SlowPart> {
  const wish = evidence.readWish(migrationId);
  if (wish?.state !== 'open') return undefined;
  evidence.rememberWish({ ...wish, state: 'ended', why: why.slice(0, 500) });
  await evidence.written();
  return undefined;
}

function markBegun({ evidence }: ExecutorPorts, id: MigrationRecord['id']): void {
  const wish = evidence.readWish(id);
  if (wish?.state === 'open') evidence.rememberWish({ ...wish, state: 'begun' });
}

export async function forgetCopy(
  ports: ExecutorPorts,
  { vmId, hostId }: StepOf<'forget-copy'>,
): Promise<SlowPart> {
  return async () => {
    await ports.fleet.request(hostId, { kind: 'forget-vm', vmId }, ports.signal);
  };
}
