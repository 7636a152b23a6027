/** Hosts, VMs, jobs and migrations over a simulated cloud, as the planner and the buyer see them. */

import { SHARE } from '../../../app/planner/moves-world.ts';
import type {
  Observed,
  ObservedHost,
  ObservedJob,
  ObservedMigration,
  ObservedVm,
} from '../../../app/planner/observed.ts';
import type { Step } from '../../../app/planner/step.ts';
import type { FleetHost } from '../../../app/reconciler/ports.ts';
import {
  type HostId,
  JobId,
  type MigrationId,
  type VmId,
} from '../../../host-agent/protocol/ids.ts';
import { hostFacts } from '../../fixtures/protocol.ts';
import { fleetHost } from '../../fixtures/records.ts';
import type { CloudMachine, SimulatedCloud } from './simulated-cloud.ts';
import type { Machine } from './traces.ts';
import { classFor, type Work } from './workload.ts';

const JOIN_MS = 90_000;
const NOTICE_MS = 120_000;
/** GitHub gives a frozen runner's job up after about nine minutes. */
const FROZEN_LIMIT_MS = 9 * 60_000;
/** As in simulation.ts. */
const LINK_BYTES_PER_SECOND = 625_000_000;

interface SimulatedVm {
  readonly id: VmId;
  readonly job: SimulatedJob;
  hostId: HostId;
  leftMs: number;
  lastEpoch: number;
}

interface SimulatedJob {
  readonly id: JobId;
  readonly work: Work;
  vm: SimulatedVm | undefined;
  firstRanAtMs: number | undefined;
}

interface Migration {
  seen: ObservedMigration;
  /** When its present phase is over. */
  endsAtMs: number;
  readonly bytes: number;
}

export class SimulatedFleet {
  drained: ReadonlySet<HostId> = new Set();
  readonly figures = {
    jobs: 0,
    lost: 0,
    moves: 0,
    parked: 0,
    reclaims: 0,
    bytesMoved: 0,
    meanWaitMs: 0,
  };
  readonly #cloud: SimulatedCloud;
  readonly #options: {
    readonly work: readonly Work[];
    readonly moves: boolean;
    readonly machine: Machine;
  };
  readonly #jobs = new Map<JobId, SimulatedJob>();
  readonly #vms = new Map<VmId, SimulatedVm>();
  readonly #migrations = new Map<VmId, Migration>();
  readonly #hosts = new Map<string, FleetHost>();
  #nextWork = 0;

  constructor(options: {
    readonly cloud: SimulatedCloud;
    readonly work: readonly Work[];
    /** False: nobody hears of a notice, and no VM can move. */
    readonly moves: boolean;
    readonly machine: Machine;
  }) {
    this.#cloud = options.cloud;
    this.#options = options;
  }

  get isStirring(): boolean {
    return (
      this.#migrations.size > 0 ||
      [...this.#cloud.machines.values()].some((one) => this.#isNoticed(one))
    );
  }

  hosts(): readonly FleetHost[] {
    return [...this.#hosts.values()];
  }

  advance(toMs: number): void {
    const stepMs = toMs - this.#cloud.nowMs;
    for (const vm of this.#vms.values()) if (!this.#isStored(vm)) vm.leftMs -= stepMs;
    this.#cloud.advance(toMs);
    this.#endMachines();
    this.#joinMachines();
    this.#endMigrations();
    this.#finishJobs();
    this.#queueJobs();
  }

  observe(): Observed {
    return {
      jobs: [...this.#jobs.values()].map((job) => this.#observeJob(job)),
      hosts: this.hosts().map((host) => this.#observeHost(host)),
      vms: [...this.#vms.values()].map((vm) => this.#observeVm(vm)),
      migrations: [...this.#migrations.values()].map(({ seen }) => seen),
      ...{ wishes: [], leftCopies: [] },
    };
  }

  apply(step: Step): void {
    switch (step.kind) {
      case 'start-vm':
        this.#start(step.vmId, step.jobId, step.hostId);
        break;
      case 'move-vm':
      case 'park-vm':
        this.#leave(step);
        break;
      case 'resume-vm':
        this.#resume(step.vmId, step.to);
        break;
      case 'abort-migration':
        this.#migrations.delete(step.vmId);
        break;
      case 'end-migration':
        this.#lose(this.#vms.get(step.vmId));
        break;
      default:
        throw new Error(`The planner wants what does not happen here: ${step.kind}.`);
    }
  }

  #start(id: VmId, jobId: JobId, hostId: HostId): void {
    const job = this.#jobs.get(jobId);
    if (job === undefined || job.vm !== undefined) return;
    const vm = { id, job, hostId, leftMs: job.work.durationMs, lastEpoch: 1 };
    job.vm = vm;
    this.#vms.set(id, vm);
    if (job.firstRanAtMs !== undefined) return;
    job.firstRanAtMs = this.#cloud.nowMs;
    const { figures } = this;
    figures.jobs += 1;
    figures.meanWaitMs += (job.firstRanAtMs - job.work.atMs - figures.meanWaitMs) / figures.jobs;
  }

  #leave(step: Extract<Step, { readonly kind: 'move-vm' | 'park-vm' }>): void {
    const vm = this.#vms.get(step.vmId);
    if (vm === undefined) return;
    const { bytesUnsealed } = vm.job.work;
    vm.lastEpoch = step.epoch;
    const isMove = step.kind === 'move-vm';
    this.#begin(vm, step.migrationId, {
      kind: isMove ? 'live' : 'park',
      to: isMove ? step.to : undefined,
      phase: isMove ? 'precopy' : 'parking',
      deadlineMs: step.deadlineMs,
      bytes: bytesUnsealed,
    });
  }

  #resume(vmId: VmId, to: HostId): void {
    const migration = this.#migrations.get(vmId);
    const vm = this.#vms.get(vmId);
    if (migration === undefined || vm === undefined) return;
    const { bytesInStore, bytesUnsealed } = vm.job.work;
    migration.seen = { ...migration.seen, to, phase: 'resuming', phaseSinceMs: this.#cloud.nowMs };
    migration.endsAtMs = this.#cloud.nowMs + transferMs(bytesInStore + bytesUnsealed);
  }

  #begin(
    vm: SimulatedVm,
    id: MigrationId,
    given: Pick<ObservedMigration, 'kind' | 'to' | 'phase' | 'deadlineMs'> & {
      readonly bytes: number;
    },
  ): void {
    const { nowMs } = this.#cloud;
    const { bytes, ...move } = given;
    this.#migrations.set(vm.id, {
      bytes,
      endsAtMs: nowMs + transferMs(bytes),
      seen: {
        ...{ ...move, id, vmId: vm.id, from: vm.hostId, epoch: vm.lastEpoch, given: false },
        ...{ attempts: 0, phaseSinceMs: nowMs, startedAtMs: nowMs, bytesLeft: bytes },
        ...{ sourceKnows: true, targetKnows: true },
      },
    });
  }

  #endMachines(): void {
    for (const machine of this.#cloud.machines.values()) {
      const { endsAtMs, id } = machine;
      if (endsAtMs === undefined || this.#cloud.nowMs < endsAtMs) continue;
      this.#cloud.machines.delete(id);
      this.figures.reclaims += 1;
    }
    for (const [machineId, host] of this.#hosts) {
      if (this.#cloud.machines.has(machineId)) continue;
      this.#hosts.delete(machineId);
      for (const vm of [...this.#vms.values()]) {
        if (vm.hostId === host.id && !this.#isStored(vm)) this.#lose(vm);
        else this.#missTarget(vm, host.id);
      }
    }
  }

  /** What was on its way there stays where it is. */
  #missTarget({ id }: SimulatedVm, hostId: HostId): void {
    const migration = this.#migrations.get(id);
    if (migration?.seen.to !== hostId) return;
    if (migration.seen.kind === 'live') this.#migrations.delete(id);
    else migration.seen = { ...migration.seen, to: undefined, phase: 'parked' };
  }

  #joinMachines(): void {
    for (const machine of this.#cloud.machines.values()) {
      if (this.#cloud.nowMs - machine.launchedAtMs < JOIN_MS) continue;
      const known = this.#hosts.get(machine.id);
      if (known === undefined) this.#hosts.set(machine.id, this.#newHost(machine));
      else if (known.report?.notice === null && this.#isNoticed(machine))
        this.#hosts.set(machine.id, this.#newHost(machine));
    }
  }

  #newHost(machine: CloudMachine): FleetHost {
    const { vcpus, memoryMib } = this.#options.machine;
    const capacity = { vcpus, memoryMib: Math.floor(memoryMib * 0.9), diskGib: 1_000 };
    const notice = this.#isNoticed(machine)
      ? ({
          kind: 'interruption',
          source: 'ec2',
          seenAtMs: 1,
          deadlineMs: machine.endsAtMs ?? 0,
        } as const)
      : null;
    const facts = hostFacts({ capacity });
    return fleetHost({ id: machine.id, facts, report: { notice } });
  }

  #isNoticed({ endsAtMs }: CloudMachine): boolean {
    if (!this.#options.moves || endsAtMs === undefined) return false;
    return endsAtMs - this.#cloud.nowMs <= NOTICE_MS;
  }

  #endMigrations(): void {
    const { nowMs } = this.#cloud;
    for (const [vmId, migration] of this.#migrations) {
      const vm = this.#vms.get(vmId);
      const { seen } = migration;
      if (vm === undefined) this.#migrations.delete(vmId);
      else if (seen.phase === 'parked') {
        if (nowMs - seen.phaseSinceMs > FROZEN_LIMIT_MS) this.#lose(vm);
      } else if (nowMs >= migration.endsAtMs) this.#endPhase(vm, migration);
    }
  }

  #endPhase(vm: SimulatedVm, migration: Migration): void {
    const { seen, bytes } = migration;
    this.figures.bytesMoved += bytes;
    if (seen.phase === 'parking') {
      migration.seen = { ...seen, phase: 'parked', phaseSinceMs: this.#cloud.nowMs };
      this.figures.parked += 1;
      return;
    }
    if (seen.to !== undefined) vm.hostId = seen.to;
    if (seen.kind === 'live') this.figures.moves += 1;
    this.#migrations.delete(vm.id);
  }

  #finishJobs(): void {
    for (const vm of this.#vms.values()) {
      if (vm.leftMs > 0) continue;
      this.#vms.delete(vm.id);
      this.#migrations.delete(vm.id);
      this.#jobs.delete(vm.job.id);
    }
  }

  #queueJobs(): void {
    const { work } = this.#options;
    for (let next = work[this.#nextWork]; next !== undefined; next = work[this.#nextWork]) {
      if (next.atMs > this.#cloud.nowMs) return;
      this.#nextWork += 1;
      const id = JobId.parse(String(this.#nextWork));
      this.#jobs.set(id, { id, work: next, vm: undefined, firstRanAtMs: undefined });
    }
  }

  /** Its job is run anew, from the start. */
  #lose(vm: SimulatedVm | undefined): void {
    if (vm === undefined) return;
    this.figures.lost += 1;
    this.#vms.delete(vm.id);
    this.#migrations.delete(vm.id);
    vm.job.vm = undefined;
  }

  #isStored({ id }: SimulatedVm): boolean {
    const phase = this.#migrations.get(id)?.seen.phase;
    return phase === 'parked' || phase === 'resuming';
  }

  #observeJob({ id, work, vm }: SimulatedJob): ObservedJob {
    return {
      ...{ id, class: classFor(this.#options.machine), queuedAtMs: work.atMs, vmsStarted: 0 },
      ...{ labelsKey: 'architect', share: SHARE, rewindable: false, vmId: vm?.id },
      state: vm === undefined ? 'queued' : 'in-progress',
      startedAtMs: vm === undefined ? undefined : work.atMs,
    };
  }

  #observeHost(host: FleetHost): ObservedHost {
    const notice = host.report?.notice ?? undefined;
    const drained = this.drained.has(host.id);
    return {
      ...{ id: host.id, stateSinceMs: 0, templateReady: true, notice, drained, gone: false },
      state: drained || notice !== undefined ? 'draining' : 'connected',
      capacity: host.facts?.capacity ?? { vcpus: 0, memoryMib: 0, diskGib: 0 },
    };
  }

  #observeVm({ id, hostId, job, lastEpoch }: SimulatedVm): ObservedVm {
    const { bytesUnsealed, bytesInStore, dirtyBytesPerSecond } = job.work;
    const tracking = { bytesUnsealed, bytesInStore, dirtyBytesPerSecond, lastCheckpoint: null };
    return {
      ...{ id, hostId, phase: 'busy', class: classFor(this.#options.machine), lastEpoch },
      ...{ forJob: job.id, runsJob: job.id, runnerId: 1, phaseSinceMs: job.work.atMs },
      ...{
        missing: false,
        unknown: false,
        runnerExited: false,
        runnerWord: undefined,
        why: undefined,
        rewindable: false,
      },
      ...{
        lastCheckpointAtMs: undefined,
        leaseOverAtMs: undefined,
        held: false,
        resize: undefined,
        resizing: false,
        keyed: true,
      },
      tracking: this.#options.moves ? tracking : undefined,
    };
  }
}

function transferMs(bytes: number): number {
  return (bytes / LINK_BYTES_PER_SECOND) * 1000;
}
