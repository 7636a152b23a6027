/**
 * All VMs of this host: takes the control plane's requests, decides (plan-start.ts,
 * plan-recovery.ts), and gives the whole picture for a report.
 *
 * Invariants:
 * - A request is decided without waiting, so two requests for one VM never overlap.
 * - Capacity is held from the decision to start until nothing of the VM is left.
 * - An ended VM is reported until `forget-vm`; beyond MAX_ENDED the oldest are let go of.
 * - Nothing here ends a VM but a request, its own end, or a missing journal.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { firstLease } from '../authority/run-lease.ts';
import { TokenDesk } from '../authority/token-desk.ts';
import { reservedHere, startedHere, type VmJournal } from '../journal/token.ts';
import { MoveLog } from '../migration/move-log.ts';
import { settleParking } from '../migration/settle-parking.ts';
import { placeName } from '../net/vm-link-plan.ts';
import { refused } from '../protocol/errors.ts';
import type { PoolSpec } from '../protocol/host-facts.ts';
import type { VmId } from '../protocol/ids.ts';
import type {
  AgentOutcome,
  AgentRequest,
  AssignJob,
  Report,
  StartVm,
} from '../protocol/messages.ts';
import type { ReceiveVm, ResumeVm } from '../protocol/migration-messages.ts';
import type { ResizeVm } from '../protocol/resize-messages.ts';
import { endVm, findRemains } from '../vm/vm-ending.ts';
import { listVmFolders } from '../vm/vm-files.ts';
import { HostedVm, type Surroundings } from './hosted-vm.ts';
import { planRecovery, type RecoveryStep, STARTED_HALF } from './plan-recovery.ts';
import {
  type Acquaintance,
  judgeCapacity,
  judgeShape,
  planStart,
  type StartDecision,
} from './plan-start.ts';
import { type OpenPool, openPool, wantPool } from './pool-artifacts.ts';
import type { SupervisorParts } from './ports.ts';
import { VmMoves } from './vm-moves.ts';

const MAX_ENDED = 200;
const MAX_FORGOTTEN = 1000;
const TAKEN: AgentOutcome = { kind: 'taken' };
const NOT_HERE = 'This VM is not on this host.';

export class Supervisor {
  readonly #parts: SupervisorParts;
  readonly #vms = new Map<VmId, HostedVm>();
  readonly #leaving = new Set<VmId>();
  readonly #forgotten = new Set<VmId>();
  readonly #desk = new TokenDesk();
  readonly #moveLog: MoveLog;
  readonly #end = new AbortController();
  #pool: PoolSpec | undefined;

  constructor(parts: SupervisorParts) {
    this.#parts = parts;
    const { nowMs, onChange } = parts;
    this.#moveLog = new MoveLog({ nowMs, onChange });
  }

  /** Finds every trace of earlier VMs: adopts what runs, reports what died, removes the rest. */
  async recover(): Promise<void> {
    const { journals, vmsDir, networks, logger } = this.#parts;
    const found = { journals: await journals.open(logger), folders: await listVmFolders(vmsDir) };
    const steps = planRecovery(found);
    await Promise.all(steps.map((step) => this.#recoverOne(step)));
    await networks.retain(new Set(this.#living().map(({ journal }) => journal.vmId)));
    this.#parts.onChange();
  }

  /** This host is in the pool from now on: its image and template are fetched if need be. */
  admit(pool: PoolSpec): void {
    this.#pool = pool;
    wantPool(this.#parts.artifacts, pool);
  }

  async serve(request: AgentRequest): Promise<AgentOutcome> {
    switch (request.kind) {
      case 'start-vm':
        return this.#start(request);
      case 'assign-job':
        return await this.#assign(request);
      case 'stop-vm':
        this.#vms.get(request.vmId)?.stop(request.why);
        return TAKEN;
      case 'forget-vm':
        return await this.#forget(request.vmId);
      case 'fetch-artifacts': {
        const started = request.digests.map((digest) => this.#parts.artifacts.want(digest));
        return started.every(Boolean) ? TAKEN : refused('Too many artifacts are on their way.');
      }
      case 'receive-vm':
        return await this.#receive(request);
      case 'send-vm':
        return this.#vms.get(request.vmId)?.moves.send(request) ?? refused(NOT_HERE);
      case 'abort-migration':
        return (await this.#vms.get(request.vmId)?.moves.abort(request)) ?? TAKEN;
      case 'park-vm':
        return (await this.#vms.get(request.vmId)?.moves.park(request)) ?? refused(NOT_HERE);
      case 'resume-vm':
        return await this.#resume(request);
      case 'checkpoint-vm':
        return this.#vms.get(request.vmId)?.moves.checkpoint() ?? refused(NOT_HERE);
      case 'resize-vm':
        return this.#resize(request);
      case 'token-query':
      case 'token-decision':
        return await this.#desk.serve(request);
      case 'use-gateways':
        return await this.#parts.networks.useGateways(request.turns).then(() => TAKEN);
    }
  }

  picture(): Pick<Report, 'artifacts' | 'vms' | 'migrations' | 'tokens'> {
    const here = [...this.#vms.values()].filter((vm) => vm.isHere);
    const vms = here.filter((vm) => !this.#leaving.has(vm.journal.vmId));
    return {
      artifacts: [...this.#parts.artifacts.here()],
      vms: vms.map((vm) => vm.report()),
      migrations: this.#moveLog.reports(),
      tokens: [...this.#desk.reports()],
    };
  }

  /** To be called now and then: repeats what failed, and removes networks that belong to nobody. */
  async tidy(): Promise<void> {
    for (const vm of this.#vms.values()) vm.tidy();
    const living = new Set<string>(this.#living().map(({ journal }) => journal.vmId));
    await this.#parts.networks.retain(living);
    await this.#dropOldest();
  }

  /** The agent ends; every VM goes on. */
  async detach(): Promise<void> {
    this.#end.abort(new Error('the host-agent ends'));
    await Promise.allSettled([...this.#vms.values()].map((vm) => vm.detach()));
  }

  #start(request: StartVm): AgentOutcome {
    const { logger, nowMs, mobility } = this.#parts;
    const pool = this.#judge(request);
    if (pool.kind === 'refused') return pool;
    if (pool.kind === 'already') return TAKEN;
    const { vmId, class: size, key } = request;
    logger.info({ vmId, class: size }, 'VM starts');
    const lease = request.rewindable === true ? firstLease(nowMs()) : null;
    const vm = { vmId, class: size, pool: request.pool, nowMs: nowMs(), lease };
    const journal = startedHere(vm);
    const keyed = key === undefined ? Promise.resolve() : mobility.keys.put(vmId, key);
    this.#host(journal).begin({
      keyed,
      attachment: request.network,
      start: (network) =>
        this.#parts.drivers.start({
          ...{ vmId, class: size, pool: request.pool, network, ...this.#hereOf(vmId) },
          ...{ imageDir: pool.imageDir, templateDir: pool.templateDir },
        }),
    });
    this.#parts.onChange();
    return TAKEN;
  }

  async #receive(request: ReceiveVm): Promise<AgentOutcome> {
    const { logger, nowMs } = this.#parts;
    const { vmId, class: size, assignedJob, epoch, migrationId, from: hostId } = request;
    await this.#vms.get(vmId)?.makeWay();
    const pool = this.#judge(request);
    if (pool.kind === 'refused') return pool;
    if (pool.kind === 'already') return refused(`This host has VM ${vmId} already.`);
    logger.info({ vmId, class: size, migrationId, from: hostId }, 'VM is to move here');
    const holder = { kind: 'reserved', move: { migrationId, epoch, hostId } } as const;
    const vm = { vmId, class: size, pool: request.pool, nowMs: nowMs(), assignedJob };
    const journal = reservedHere({ ...vm, entry: { epoch, holder, lease: null } });
    const arriving = this.#host(journal);
    const outcome = await arriving.moves.receive(request, { pool, here: this.#hereOf(vmId) });
    if (outcome.kind === 'refused') this.#leaveOut(arriving);
    return outcome;
  }

  /** Nothing was journalled of it: it was never here. */
  #leaveOut(vm: HostedVm): void {
    const { vmId } = vm.journal;
    if (this.#vms.get(vmId) === vm) this.#vms.delete(vmId);
    void vm.detach();
  }

  /** The same epoch again is the same request again. */
  async #resume(request: ResumeVm): Promise<AgentOutcome> {
    const { logger, nowMs } = this.#parts;
    const { vmId, class: size, epoch, from, rewindable, assignedJob } = request;
    await this.#vms.get(vmId)?.makeWay();
    const earlier = this.#vms.get(vmId);
    if (earlier?.isHere === true && earlier.journal.epoch >= epoch) return TAKEN;
    if (earlier?.isEnded === false) return refused(`This host has VM ${vmId} still.`);
    const pool = this.#judge(request, { kind: 'unknown' });
    if (pool.kind !== 'open') return pool.kind === 'already' ? TAKEN : pool;
    logger.info({ vmId, class: size, epoch, from }, 'VM comes back from the store');
    const lease = rewindable === true ? firstLease(nowMs()) : null;
    const vm = { vmId, class: size, pool: request.pool, nowMs: nowMs(), epoch, lease };
    const gone = earlier === undefined ? undefined : this.#drop(vmId);
    this.#forgotten.delete(vmId);
    const hosted = this.#host({ ...startedHere(vm), assignedJob });
    hosted.comeBack(async () => {
      await gone;
      await hosted.moves.comeBack(request, { pool, here: this.#hereOf(vmId) });
    });
    this.#parts.onChange();
    return TAKEN;
  }

  /** Whether this host takes the VM, and from which folders. */
  #judge(
    request: Pick<StartVm, 'vmId' | 'class' | 'pool'>,
    acquaintance = this.#acquaintance(request.vmId),
  ): OpenPool | Exclude<StartDecision, { kind: 'start' }> {
    const { capacity, artifacts } = this.#parts;
    const decision = planStart(request, {
      acquaintance,
      pool: this.#pool,
      capacity,
      held: this.#living().map(({ journal }) => journal.class),
      reported: this.#vms.size,
    });
    if (decision.kind !== 'start') return decision;
    const pool = openPool(artifacts, request.pool);
    if (pool.kind === 'refused') return pool;
    return judgeShape(request.class, pool.shape) ?? pool;
  }

  #hereOf(vmId: VmId) {
    const { fleet, tag } = this.#parts;
    return { vmDir: this.#folderOf(vmId), fleet, place: placeName({ vmId, tag }) };
  }

  #resize(request: ResizeVm): AgentOutcome {
    const { capacity } = this.#parts;
    const vm = this.#vms.get(request.vmId);
    const others = this.#living().filter((one) => one !== vm);
    const held = others.map(({ journal }) => journal.class);
    return (
      vm?.moves.resize(request, (size) => judgeCapacity(size, { capacity, held })) ??
      refused(NOT_HERE)
    );
  }

  async #assign(request: AssignJob): Promise<AgentOutcome> {
    const vm = this.#vms.get(request.vmId);
    if (vm === undefined) return refused(`VM ${request.vmId} is not on this host.`);
    return await vm.assign(request);
  }

  async #forget(vmId: VmId): Promise<AgentOutcome> {
    const vm = this.#vms.get(vmId);
    if (vm === undefined) return TAKEN;
    if (!vm.isOver) return refused(`VM ${vmId} has not ended yet.`);
    if (vm.isEnded) await this.#drop(vmId);
    else this.#dropWhenGone(vm);
    return TAKEN;
  }

  /** Its end was read while its remains are still being removed: it is not reported any more. */
  #dropWhenGone(vm: HostedVm): void {
    const { vmId } = vm.journal;
    if (this.#leaving.has(vmId)) return;
    this.#leaving.add(vmId);
    const drop = async () => {
      await vm.gone;
      await this.#drop(vmId);
    };
    drop().catch((error: unknown) => {
      this.#parts.logger.error({ vmId, err: error }, 'VM not forgotten completely');
    });
  }

  /** The journal goes last: a folder without one is removed at the next start. */
  async #drop(vmId: VmId): Promise<void> {
    this.#vms.delete(vmId);
    this.#leaving.delete(vmId);
    this.#desk.close(vmId);
    this.#forgotten.add(vmId);
    const [oldest] = this.#forgotten;
    if (this.#forgotten.size > MAX_FORGOTTEN && oldest !== undefined) {
      this.#forgotten.delete(oldest);
    }
    await rm(this.#folderOf(vmId), { recursive: true, force: true });
    await this.#parts.mobility.keys.remove(vmId);
    await this.#parts.journals.remove(vmId);
    this.#parts.onChange();
  }

  async #dropOldest(): Promise<void> {
    const over = [...this.#vms].filter(([, vm]) => vm.isEnded).map(([vmId]) => vmId);
    for (const vmId of over.slice(0, Math.max(0, over.length - MAX_ENDED))) await this.#drop(vmId);
  }

  async #recoverOne(step: RecoveryStep): Promise<void> {
    if (step.kind === 'remove') return await this.#removeStray(step.vmId);
    const vm = this.#host(step.journal);
    if (step.kind === 'bury') vm.bury(step.why);
    if (step.kind === 'ask') vm.ask();
    if (step.kind === 'settle') vm.settle(step.parking);
    if (step.kind === 'adopt') await this.#adopt(vm);
  }

  async #adopt(vm: HostedVm): Promise<void> {
    const { vmId } = vm.journal;
    const { drivers, logger } = this.#parts;
    try {
      const { mayRun } = vm.moves;
      const driver = await drivers.adopt(this.#folderOf(vmId), { mayRun });
      if (driver === undefined) {
        vm.bury(STARTED_HALF);
        return;
      }
      const { phase, qemuPid } = driver.snapshot();
      logger.info({ vmId, phase, qemuPid }, 'VM found again');
      vm.drive(driver);
    } catch (error) {
      logger.error({ vmId, err: error }, 'VM cannot be taken over');
      vm.bury('The host-agent was restarted and could not take this VM over again.');
    }
    if (!vm.isOver) await this.#mendNetwork(vm.journal);
  }

  /** A network that cannot be mended is no reason to end a VM that may have a job. */
  async #mendNetwork({ vmId, epoch }: VmJournal): Promise<void> {
    try {
      await this.#parts.networks.ensure(vmId, { epoch });
    } catch (error) {
      this.#parts.logger.error({ vmId, err: error }, 'network of a running VM cannot be mended');
    }
  }

  /** No journal, no VM: what runs in the folder is ended, then the folder goes. */
  async #removeStray(vmId: VmId): Promise<void> {
    const { logger } = this.#parts;
    logger.warn({ vmId }, 'removing what is left of a VM that this host does not hold');
    await this.#removeRemains(vmId).catch((err: unknown) => {
      logger.error({ vmId, err }, 'a VM that this host does not hold has left something behind');
    });
  }

  /** A QEMU that no driver knows, its limits, its folder. Idempotent. */
  async #removeRemains(vmId: VmId): Promise<void> {
    const [failure] = await endVm(await findRemains({ vmId, ...this.#hereOf(vmId) }));
    if (failure !== undefined) throw failure;
    await rm(this.#folderOf(vmId), { recursive: true, force: true });
  }

  #host(journal: VmJournal): HostedVm {
    const vm = new HostedVm(journal, this.#surroundings(journal.vmId));
    this.#vms.set(journal.vmId, vm);
    return vm;
  }

  #surroundings(vmId: VmId): Surroundings {
    const { journals, networks, nowMs, logger, onChange, mobility, drivers } = this.#parts;
    const folder = this.#folderOf(vmId);
    const shared = { logger: logger.child({ vmId }), onChange };
    const clocks = () => ({ wallMs: nowMs(), monotonicMs: performance.now() });
    const [desk, log] = [this.#desk, this.#moveLog];
    return {
      ...{ journals, networks, nowMs, ...shared },
      moves: (stay) => new VmMoves({ ...shared, stay, desk, log, mobility, networks, clocks }),
      adopt: (how) => drivers.adopt(folder, how),
      settle: (epoch) =>
        settleParking({ vmId, epoch, store: mobility.store, signal: this.#end.signal }),
      removeRemains: () => this.#removeRemains(vmId),
      onVanished: () => {
        this.#vms.delete(vmId);
        onChange();
      },
    };
  }

  #acquaintance(vmId: VmId): Acquaintance {
    const vm = this.#vms.get(vmId);
    if (vm !== undefined) return { kind: 'known', class: vm.journal.class };
    return { kind: this.#forgotten.has(vmId) ? 'forgotten' : 'unknown' };
  }

  #living(): readonly HostedVm[] {
    return [...this.#vms.values()].filter((vm) => !vm.isEnded);
  }

  #folderOf(vmId: VmId): string {
    return join(this.#parts.vmsDir, vmId);
  }
}
