/**
 * The one loop that acts: wakes on a nudge or the timer, and then
 *
 *   keep the lease → (Redis empty? recover) → observe → plan → run the steps
 *                                               └─ doubts about tokens, run leases → settled beside
 *
 * Ticks never overlap; nudges during a tick are coalesced into one more. A tick waits for records
 * to be written, never for GitHub or a host: those answer beside later ticks (step-runner.ts).
 *
 * Invariants: without the lease nothing is read or done; before recovery is complete nothing is
 * planned; a failing tick is logged once and the next one starts afresh.
 */
import { randomBytes } from 'node:crypto';
import { type JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { Observed, PlannerConfig } from '../planner/observed.ts';
import { plan } from '../planner/plan.ts';
import type { Provider } from '../providers/provider.ts';
import type { Lease } from '../records/lease.ts';
import { DoubtSettler } from './doubt-settler.ts';
import type { ExecutorPorts } from './executor.ts';
import { EXECUTORS, prepareStep } from './executors.ts';
import { findDoubts } from './find-doubts.ts';
import type { FleetBuyer } from './fleet/fleet-buyer.ts';
import { keepHosts } from './keep-hosts.ts';
import { findDueLeases, LeaseKeeper } from './lease-keeper.ts';
import type { MachineWatch } from './machine-watch.ts';
import { MomentWriter, momentsOf } from './note-moments.ts';
import { observe } from './observe.ts';
import type { EnrolmentTokens } from './ports.ts';
import { Recovery } from './recovery.ts';
import { StepRunner } from './step-runner.ts';
import { type Waiting, WaitingBook } from './waiting-book.ts';

const HOSTS_LOOK_INTERVAL_MS = 5_000;

export interface ReconcilerOptions {
  readonly ports: Omit<ExecutorPorts, 'signal'>;
  readonly lease: Lease;
  readonly plannerConfig: PlannerConfig;
  readonly tickMs: number;
  /** The lease went to another process: whoever talks to us must find it there. */
  readonly onFollow?: () => void;
  /** Unset: hosts come and go without us. */
  readonly hosts?: {
    readonly provider: Provider;
    readonly tokens: EnrolmentTokens;
    readonly watch?: MachineWatch | undefined;
    readonly buyer?: FleetBuyer | undefined;
  };
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #ports: ExecutorPorts;
  readonly #stopping = new AbortController();
  readonly #recovery: Recovery;
  readonly #runner: StepRunner;
  readonly #moments: MomentWriter;
  readonly #doubts: DoubtSettler;
  readonly #leases: LeaseKeeper;
  readonly #waiting: WaitingBook;
  #wake: (() => void) | undefined;
  #nudged = false;
  #loop: Promise<void> | undefined;
  #unsubscribe: (() => void) | undefined;
  #lookingSinceMs: number | undefined;
  #keepingHosts: Promise<void> | undefined;
  #hostsLookedAtMs = 0;
  #observed: { readonly picture: Observed; readonly atMs: number } | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#ports = { ...options.ports, signal: this.#stopping.signal };
    this.#recovery = new Recovery(this.#ports);
    this.#moments = new MomentWriter(options.ports.evidence);
    this.#doubts = new DoubtSettler(this.#ports, () => this.nudge());
    this.#leases = new LeaseKeeper(this.#ports);
    this.#waiting = new WaitingBook(options.plannerConfig);
    this.#runner = new StepRunner({
      admit: (step) => {
        if (step.kind !== 'assign-job') return true;
        const may = options.ports.runners.mayMint(step);
        if (!may) this.#waiting.notePaced(step.jobId);
        return may;
      },
      prepare: (step) => prepareStep(EXECUTORS, this.#ports, step),
      onDone: () => this.nudge(),
      now: options.ports.now,
      logger: options.ports.logger,
    });
  }

  start(): void {
    this.#unsubscribe = this.#ports.fleet.onChange(() => this.nudge());
    this.#loop ??= this.#run();
  }

  /** Something may have changed: look at once. Many nudges make one look. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  /** What a queued job waits for, and since when; undefined on a process that does not reconcile. */
  whyWaiting(jobId: JobId): Waiting | undefined {
    return this.#waiting.causeOf(jobId);
  }

  /** Ends the loop, aborts requests under way, waits for both and gives the lease up. */
  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#stopping.abort();
    this.#wake?.();
    await this.#loop;
    await Promise.all([this.#runner.drained(), this.#doubts.drained(), this.#leases.drained()]);
    await this.#keepingHosts;
    await this.#options.lease.release();
  }

  /** One turn of the loop, for whoever drives it by hand. Throws what Redis throws. */
  async tick(): Promise<void> {
    const { lease, plannerConfig } = this.#options;
    if (!(await lease.keep())) {
      if (this.#lookingSinceMs !== undefined) this.#options.onFollow?.();
      this.#lookingSinceMs = undefined;
      this.#observed = undefined;
      this.#waiting.clear();
      return;
    }
    const nowMs = this.#ports.now();
    this.#lookingSinceMs ??= nowMs;
    this.#lookAtHosts(nowMs);
    if (!(await this.#recovery.isComplete())) return;
    const observed = await observe(this.#ports, { nowMs, lookingSinceMs: this.#lookingSinceMs });
    if (observed === undefined) return this.nudge();
    this.#observed = { picture: observed, atMs: nowMs };
    this.#options.hosts?.buyer?.watch(observed, nowMs);
    const hosts = this.#ports.fleet.hosts();
    await this.#moments.write(momentsOf(observed, hosts));
    if (lease.held) {
      this.#doubts.settle(findDoubts(hosts, observed.migrations, nowMs));
      this.#leases.renew(findDueLeases(hosts, nowMs));
    }
    this.#tellGateways();
    const newIds = { newVmIds: freshVmIds(), newMigrationIds: freshMigrationIds() };
    const steps = plan({ observed, config: plannerConfig, nowMs, ...newIds });
    if (lease.held) await this.#runner.run(steps);
    this.#waiting.look(observed, nowMs);
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      this.#nudged = false;
      try {
        await this.tick();
      } catch (error) {
        this.#ports.logger.error(
          { err: error },
          'reconcile tick failed; the next one starts afresh',
        );
        await this.#pause(this.#options.tickMs, false);
      }
      await this.#pause(this.#options.tickMs, true);
    }
  }

  async #pause(ms: number, untilNudged: boolean): Promise<void> {
    if (this.#stopping.signal.aborted || (untilNudged && this.#nudged)) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        if (!untilNudged && !this.#stopping.signal.aborted) return;
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #tellGateways(): void {
    const { gateways } = this.#ports;
    if (gateways === undefined || !this.#options.lease.held) return;
    void this.#besides('telling the gateways', async () => void (await gateways.refresh()));
  }

  #lookAtHosts(nowMs: number): void {
    const { hosts } = this.#options;
    const due = nowMs - this.#hostsLookedAtMs >= HOSTS_LOOK_INTERVAL_MS;
    if (hosts === undefined || !due || this.#keepingHosts !== undefined) return;
    this.#hostsLookedAtMs = nowMs;
    this.#keepingHosts = this.#besides('keep-hosts', () =>
      keepHosts({ ...this.#ports, ...hosts, observed: this.#observed }),
    ).finally(() => {
      this.#keepingHosts = undefined;
    });
  }

  async #besides(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#ports.logger.error({ err: error }, `${what} failed; it is tried again later`);
    }
  }
}

function* freshMigrationIds(): Generator<MigrationId> {
  while (true) yield MigrationId.parse(`mig-${randomBytes(8).toString('hex')}`);
}

function* freshVmIds(): Generator<VmId> {
  while (true) yield VmId.parse(`vm-${randomBytes(4).toString('hex')}`);
}
