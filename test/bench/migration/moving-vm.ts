/** One VM of a bench fleet: started on a host, moved as the control plane would, and what that took. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CheckpointMark } from '../../../host-agent/migration/checkpoint-trace.ts';
import type { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import { MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import type { MigrationReport, VmKey } from '../../../host-agent/protocol/migration-messages.ts';
import type { VmReport } from '../../../host-agent/protocol/vm-report.ts';
import type { BenchFleet } from './bench-fleet.ts';
import { readBenchPool } from './bench-pool.ts';

const WAIT_MS = 180_000;
const MOVE_LIMIT_MS = 120_000;
const LOOK_MS = 20;

export interface MoveMeasured {
  /** From before `stop` is sent until `cont` is answered at the target. */
  readonly blackoutMs: number;
  /** Each step's time since `stop` was sent, in their order. */
  readonly steps: readonly (readonly [step: string, ms: number])[];
  readonly totalMs: number;
  readonly report: MigrationReport;
}

export class MovingVm {
  readonly vmId = VmId.parse(`vm-${randomBytes(4).toString('hex')}`);
  readonly #fleet: BenchFleet;
  readonly #class: InstanceClass;
  readonly #pool: PoolSpec;
  readonly #key: VmKey = {
    plain: randomBytes(32).toString('base64'),
    wrapped: randomBytes(60).toString('base64'),
  };
  readonly #startedAt: number;
  #at: number;
  #epoch = 1;

  private constructor(fleet: BenchFleet, where: { size: InstanceClass; at: number }) {
    this.#fleet = fleet;
    this.#class = where.size;
    this.#at = where.at;
    this.#startedAt = where.at;
    this.#pool = readBenchPool(fleet.homeDir);
  }

  /** Idle when it resolves. */
  static async start(
    fleet: BenchFleet,
    where: { readonly size: InstanceClass; readonly at: number },
  ): Promise<MovingVm> {
    const vm = new MovingVm(fleet, where);
    const outcome = await fleet.host(where.at).serve({
      kind: 'start-vm',
      ...{ vmId: vm.vmId, class: where.size, pool: vm.#pool, key: vm.#key },
    });
    if (outcome.kind === 'refused') throw new Error(outcome.why);
    await vm.#until((report) => report.phase === 'idle');
    return vm;
  }

  /** The host that it is on. */
  get at(): number {
    return this.#at;
  }

  /** Only as long as it is where it was started. */
  async run(script: string, timeoutMs?: number): Promise<string> {
    return await this.#fleet.host(this.#startedAt).run(this.vmId, script, timeoutMs);
  }

  /** Resolves when a pulse has been taken: the VM can move. */
  async untilTracked(): Promise<NonNullable<VmReport['tracking']>> {
    const { tracking } = await this.#until((report) => report.tracking !== undefined);
    if (tracking === undefined) throw new Error('not tracked');
    return tracking;
  }

  /** Resolves when a host that it left has let go of it, and this one knows. */
  async untilGoneFrom(host: number): Promise<void> {
    const folder = join(this.#fleet.host(host).task.dir, 'vms', this.vmId);
    const signal = AbortSignal.timeout(WAIT_MS);
    while (existsSync(folder)) await delay(LOOK_MS, undefined, { signal });
  }

  /** Resolves with its cost when it is in the store and the VM is tracked again. */
  async checkpoint(): Promise<CheckpointMark> {
    const host = this.#fleet.host(this.#at);
    host.takeCheckpoints();
    const taken = await host.serve({ kind: 'checkpoint-vm', vmId: this.vmId });
    if (taken.kind === 'refused') throw new Error(taken.why);
    const signal = AbortSignal.timeout(WAIT_MS);
    for (;;) {
      const [cost] = host.takeCheckpoints();
      if (cost !== undefined) return cost;
      await delay(LOOK_MS, undefined, { signal });
    }
  }

  /** As the control plane does it: the target first, then the source; done when it runs there. */
  async moveTo(to: number): Promise<MoveMeasured> {
    const [source, target] = [this.#fleet.host(this.#at), this.#fleet.host(to)];
    source.takeMarks();
    target.takeMarks();
    const begunMs = performance.now();
    const move = {
      migrationId: MigrationId.parse(`mig-${randomBytes(6).toString('hex')}`),
      vmId: this.vmId,
      epoch: this.#epoch + 1,
      credential: randomBytes(32).toString('base64'),
      deadlineMs: Date.now() + MOVE_LIMIT_MS,
    };
    const taken = await target.serve({
      kind: 'receive-vm',
      ...move,
      ...{ from: source.task.hostId, class: this.#class, pool: this.#pool, key: this.#key },
      assignedJob: null,
    });
    if (taken.kind === 'refused') throw new Error(taken.why);
    if (taken.peer === undefined) throw new Error('the target opened no port');
    const sent = await source.serve({
      kind: 'send-vm',
      ...move,
      ...{ to: target.task.hostId, peer: taken.peer, cpuShare: 1 },
    });
    if (sent.kind === 'refused') throw new Error(sent.why);
    const report = await this.#untilMoved(move.migrationId, { from: this.#at, to });
    const totalMs = performance.now() - begunMs;
    this.#at = to;
    this.#epoch += 1;
    return { ...timesOf([...source.takeMarks(), ...target.takeMarks()]), totalMs, report };
  }

  /** The source's last word on it. */
  async #untilMoved(
    migrationId: MigrationId,
    { from, to }: { readonly from: number; readonly to: number },
  ): Promise<MigrationReport> {
    const signal = AbortSignal.timeout(MOVE_LIMIT_MS);
    for (;;) {
      const pictures = await Promise.all([from, to].map((at) => this.#fleet.host(at).look()));
      const [here, there] = pictures.map(({ migrations }) =>
        migrations.find((one) => one.migrationId === migrationId),
      );
      if (here?.phase === 'aborted' || there?.phase === 'aborted') {
        throw new Error(`the move was given up: ${here?.why}, target: ${there?.why}`);
      }
      if (here?.phase === 'done' && there?.phase === 'done') return here;
      await delay(LOOK_MS, undefined, { signal });
    }
  }

  async #until(wanted: (report: VmReport) => boolean): Promise<VmReport> {
    const signal = AbortSignal.timeout(WAIT_MS);
    for (;;) {
      const report = await this.#lookFor();
      if (report?.phase === 'failed') throw new Error(report.why ?? 'the VM failed');
      if (report !== undefined && wanted(report)) return report;
      await delay(LOOK_MS, undefined, { signal });
    }
  }

  async #lookFor(): Promise<VmReport | undefined> {
    const { vms } = await this.#fleet.host(this.#at).look();
    return vms.find(({ vmId }) => vmId === this.vmId);
  }
}

function timesOf(marks: readonly { readonly step: string; readonly atMs: number }[]) {
  const atMs = (step: string) => marks.find((mark) => mark.step === step)?.atMs ?? Number.NaN;
  const stoppedMs = atMs('stop sent');
  const steps = marks
    .filter((mark) => mark.atMs >= stoppedMs)
    .toSorted((a, b) => a.atMs - b.atMs)
    .map((mark) => [mark.step, mark.atMs - stoppedMs] as const);
  return { blackoutMs: atMs('guest runs') - stoppedMs, steps };
}
