/** A tiny world around the reconciler: hosts, GitHub's runners and jobs, each a stateful object. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { pino } from 'pino';
import { EvidenceStore } from '../../../app/evidence/evidence-store.ts';
import { GithubAwayError } from '../../../app/github/errors.ts';
import { VmKeys } from '../../../app/keys/vm-keys.ts';
import { shareOf } from '../../../app/labels/job-share.ts';
import { DEFAULT_POLICY } from '../../../app/labels/policy.ts';
import { DEFAULT_PLANNER_CONFIG, type PlannerConfig } from '../../../app/planner/observed.ts';
import type {
  FleetHost,
  JobSource,
  MintedRunner,
  Removal,
  RunnerPlace,
  Runners,
} from '../../../app/reconciler/ports.ts';
import { Reconciler } from '../../../app/reconciler/reconciler.ts';
import { applyJobFacts, type JobBook } from '../../../app/records/apply-job-facts.ts';
import { Lease } from '../../../app/records/lease.ts';
import { RecordStore } from '../../../app/records/record-store.ts';
import { type JobFacts, runnerNameOf } from '../../../app/records/records.ts';
import { type Refused, refused } from '../../../host-agent/protocol/errors.ts';
import type { HostNotice } from '../../../host-agent/protocol/host-notice.ts';
import { HostId, JobId, type VmId } from '../../../host-agent/protocol/ids.ts';
import type {
  AgentOutcome,
  AgentRequest,
  TokenReport,
} from '../../../host-agent/protocol/messages.ts';
import type {
  MigrationReport,
  ReceiveVm,
  SendVm,
} from '../../../host-agent/protocol/migration-messages.ts';
import type { VmReport } from '../../../host-agent/protocol/vm-report.ts';
import { CLASS, POOL, vmReport } from '../../fixtures/protocol.ts';
import { fleetHost, jobFacts } from '../../fixtures/records.ts';
import type { TestRedis } from '../records/redis-server.ts';

const KEYS = new VmKeys(randomBytes(32));
export const FIGURES = {
  blackoutMs: 21,
  bytesFromSource: 1_000,
  bytesFromStore: 9_000,
  packetsLost: 3,
};
const SECRET = 'jit-secret-configuration';

/** Takes requests as an agent does; VMs are idle at once, and moves take as long as a test says. */
export class FakeFleet {
  readonly vms = new Map<VmId, { hostId: HostId; report: VmReport }>();
  /** Copies that ended because the VM went elsewhere. */
  readonly left = new Map<VmId, { hostId: HostId; report: VmReport }>();
  readonly requests: AgentRequest[] = [];
  readonly connected = new Set<string>();
  readonly migrations = new Map<HostId, MigrationReport[]>();
  readonly notices = new Map<HostId, HostNotice>();
  readonly tokens = new Map<HostId, TokenReport[]>();
  /** Names of hosts that the provider says are gone. */
  readonly gone = new Set<string>();
  /** Whether a move is over as soon as its source is told to send. */
  movesAtOnce = true;
  /** Ends the requests that an `intercept` holds. */
  readonly stopping = new AbortController();
  /** Answers instead of the agent when it gives something. */
  intercept: (hostId: HostId, request: AgentRequest) => Promise<AgentOutcome> | undefined = () =>
    undefined;
  readonly #listeners = new Set<() => void>();
  readonly #hostIds: readonly HostId[];

  constructor(names: readonly string[]) {
    this.#hostIds = names.map((name) => HostId.parse(name));
    for (const name of names) this.connected.add(name);
  }

  hosts(): readonly FleetHost[] {
    return this.#hostIds.map((id) => this.#host(id));
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  change(vmId: VmId, over: Partial<VmReport>): void {
    const vm = this.vms.get(vmId);
    if (vm !== undefined) this.vms.set(vmId, { ...vm, report: { ...vm.report, ...over } });
    this.changed();
  }

  async request(hostId: HostId, request: AgentRequest): Promise<AgentOutcome> {
    this.requests.push(request);
    const instead = this.intercept(hostId, request);
    if (instead !== undefined) return instead;
    if (request.kind === 'start-vm' && !this.vms.has(request.vmId))
      this.vms.set(request.vmId, { hostId, report: idleVm(request.vmId) });
    if (request.kind === 'assign-job')
      this.change(request.vmId, { phase: 'assigned', runner: { state: 'running' } });
    if (request.kind === 'stop-vm') this.change(request.vmId, { phase: 'stopped', stoppedAtMs: 9 });
    if (request.kind === 'forget-vm') forget(this, hostId, request.vmId);
    const moved = takeMove(this, hostId, request);
    this.changed();
    return moved ?? { kind: 'taken' };
  }

  /**
   * The token is handed over: the target says so, and its report of the VM comes with it. The source
   * reports the VM no more, and only then how long the guest stood.
   */
  commit(migrationId: string): void {
    const [target, word] = this.#wordOf(migrationId, 'target');
    const vm = this.vms.get(word.vmId);
    if (vm === undefined) throw new Error(`no VM ${word.vmId}`);
    const { epoch } = word;
    this.vms.set(word.vmId, { hostId: target, report: { ...vm.report, epoch } });
    const { blackoutMs, packetsLost, ...received } = FIGURES;
    const endedAtMs = Date.now();
    const [there, here] = [1, packetsLost - 1];
    this.say(migrationId, 'target', { phase: 'done', ...received, packetsLost: there, endedAtMs });
    this.say(migrationId, 'source', { phase: 'done', blackoutMs, packetsLost: here, endedAtMs });
  }

  say(migrationId: string, role: MigrationReport['role'], over: Partial<MigrationReport>): void {
    const [hostId, word] = this.#wordOf(migrationId, role);
    const others = (this.migrations.get(hostId) ?? []).filter((one) => one !== word);
    this.migrations.set(hostId, [...others, { ...word, ...over }]);
    this.changed();
  }

  #wordOf(migrationId: string, role: string): [HostId, MigrationReport] {
    for (const [hostId, words] of this.migrations) {
      const word = words.find((one) => one.migrationId === migrationId && one.role === role);
      if (word !== undefined) return [hostId, word];
    }
    throw new Error(`nobody has heard of ${migrationId} as ${role}`);
  }

  countOf(kind: AgentRequest['kind']): number {
    return this.requests.filter((request) => request.kind === kind).length;
  }

  #host(id: HostId): FleetHost {
    const vms = [...this.vms.values()].filter((vm) => vm.hostId === id).map((vm) => vm.report);
    for (const left of this.left.values()) if (left.hostId === id) vms.push(left.report);
    const state = this.connected.has(id) ? 'connected' : 'away';
    const migrations = this.migrations.get(id) ?? [];
    return fleetHost({
      id,
      state,
      report: {
        ...{ vms, migrations, notice: this.notices.get(id) ?? null },
        tokens: this.tokens.get(id) ?? [],
      },
    });
  }
}

function forget(fleet: FakeFleet, hostId: HostId, vmId: VmId): void {
  for (const known of [fleet.vms, fleet.left])
    if (known.get(vmId)?.hostId === hostId) known.delete(vmId);
}

function takeMove(
  fleet: FakeFleet,
  hostId: HostId,
  request: AgentRequest,
): AgentOutcome | undefined {
  const words = fleet.migrations.get(hostId) ?? [];
  const add = (word: MigrationReport) => fleet.migrations.set(hostId, [...words, word]);
  switch (request.kind) {
    case 'receive-vm':
      add(wordOf(request, 'target', request.from));
      return { kind: 'taken', peer: { host: '10.0.0.1', port: 7000 } };
    case 'send-vm':
      add(wordOf(request, 'source', request.to));
      if (fleet.movesAtOnce) fleet.commit(request.migrationId);
      return undefined;
    case 'abort-migration':
      for (const { migrationId, role } of words)
        if (migrationId === request.migrationId)
          fleet.say(migrationId, role, { phase: 'aborted', why: request.why });
      return undefined;
    case 'park-vm':
      fleet.change(request.vmId, { phase: 'stopped', parked: true, stoppedAtMs: Date.now() });
      return undefined;
    case 'resume-vm':
      fleet.vms.set(request.vmId, {
        hostId,
        report: {
          ...idleVm(request.vmId),
          ...{ epoch: request.epoch, phase: 'assigned', runner: { state: 'running' } },
        },
      });
      return undefined;
    default:
      return undefined;
  }
}

function wordOf(
  request: ReceiveVm | SendVm,
  role: MigrationReport['role'],
  peer: HostId,
): MigrationReport {
  const { migrationId, vmId, epoch } = request;
  return {
    ...{ migrationId, vmId, role, peer, epoch, phase: 'precopy', why: null },
    ...{ startedAtMs: 1, endedAtMs: null, blackoutMs: null, bytesLeft: 0, packetsLost: null },
    ...{ bytesFromSource: 0, bytesFromStore: 0 },
  };
}

function idleVm(vmId: VmId): VmReport {
  return vmReport({
    ...{ vmId, startedAtMs: 5, guestReadyAtMs: 6 },
    tracking: {
      bytesUnsealed: 1_000_000,
      bytesInStore: 0,
      dirtyBytesPerSecond: 0,
      lastCheckpoint: null,
    },
  });
}

/** GitHub: the truth about jobs, and the runners that were minted. */
export class FakeGithub implements Runners, JobSource {
  readonly jobs = new Map<string, JobFacts>();
  readonly runners = new Map<number, string>();
  readonly busyRunners = new Set<string>();
  mints = 0;

  /** Why it takes no runner; undefined: it takes it. */
  refuses: string | undefined;

  /** Registrations that it takes before it must be asked anew. */
  mintsLeft = Number.POSITIVE_INFINITY;

  mayMint(): boolean {
    this.mintsLeft -= 1;
    return this.mintsLeft >= 0;
  }

  async mint({ runnerName }: { readonly runnerName: string }): Promise<MintedRunner | Refused> {
    this.#reach();
    if (this.refuses !== undefined) return refused(this.refuses);
    for (const [id, name] of this.runners)
      if (name === runnerName && !this.busyRunners.has(name)) this.runners.delete(id);
    this.mints += 1;
    this.runners.set(this.mints, runnerName);
    return { kind: 'minted', runnerId: this.mints, jitConfig: SECRET };
  }

  /** The App was suspended. */
  denies = false;

  /** Nobody can reach it. */
  away = false;

  /** A JIT runner is gone with its one job. */
  #release(runnerName: string): void {
    this.busyRunners.delete(runnerName);
    for (const [id, name] of this.runners) if (name === runnerName) this.runners.delete(id);
  }

  #reach(): void {
    if (this.away) throw new GithubAwayError('GitHub did not answer.');
  }

  async remove(_origin: RunnerPlace, runnerId: number): Promise<Removal> {
    this.#reach();
    const name = this.runners.get(runnerId);
    if (this.denies) return 'denied';
    if (name === undefined) return 'absent';
    if (this.busyRunners.has(name)) return 'busy';
    this.runners.delete(runnerId);
    return 'removed';
  }

  async readJob(_origin: JobFacts['origin'], id: JobId) {
    this.#reach();
    return this.jobs.get(id);
  }

  async listOpenJobs() {
    this.#reach();
    return [...this.jobs.values()].filter((job) => job.status !== 'completed');
  }

  set(id: number, status: JobFacts['status'], vmId?: VmId): JobFacts {
    const runnerName = vmId === undefined ? null : runnerNameOf(vmId);
    if (runnerName !== null && status === 'in_progress') this.busyRunners.add(runnerName);
    if (runnerName !== null && status === 'completed') this.#release(runnerName);
    const facts = jobFacts({
      id: JobId.parse(String(id)),
      status,
      conclusion: status === 'completed' ? 'success' : null,
      runnerName,
      createdAtMs: id,
      startedAtMs: runnerName === null ? null : Date.now() - 60_000,
      completedAtMs: status === 'completed' ? Date.now() : null,
    });
    this.jobs.set(facts.id, facts);
    return facts;
  }
}

export class World {
  readonly github = new FakeGithub();
  readonly fleet: FakeFleet;
  readonly lines: string[] = [];
  readonly lost: string[] = [];
  readonly refused: string[] = [];
  /** Of reconcilers made from now on. */
  config: Partial<PlannerConfig> = {};
  labels: readonly string[] = ['architect'];
  rerunLost = false;
  readonly evidence: EvidenceStore;
  readonly store: RecordStore;
  readonly #redis: TestRedis;
  readonly #name: string;
  readonly #running: Reconciler[] = [];

  constructor(redis: TestRedis, name: string, hosts: readonly string[] = ['host-1', 'host-2']) {
    this.#redis = redis;
    this.#name = name;
    this.fleet = new FakeFleet(hosts);
    this.evidence = EvidenceStore.open(join(redis.folder, `${name}.db`));
    this.store = new RecordStore({ redis: redis.connect(), fleet: name });
  }

  get book(): JobBook {
    const classify = () => ({ kind: 'served' as const, class: CLASS, request: {} });
    return { store: this.store, evidence: this.evidence, classify };
  }

  /** As the intake worker does on a webhook. */
  async tell(told: JobFacts): Promise<void> {
    const facts = { ...told, labels: this.labels };
    this.github.jobs.set(facts.id, facts);
    await applyJobFacts(this.book, facts, Date.now());
    for (const reconciler of this.#running) reconciler.nudge();
  }

  newReconciler(): Reconciler {
    const write = (line: string) => {
      this.lines.push(line);
    };
    const reconciler = new Reconciler({
      ports: {
        ...this.book,
        fleet: this.fleet,
        runners: this.github,
        jobSource: this.github,
        notices: {
          refused: async (job, why) => {
            this.refused.push(`${job.id}: ${why}`);
          },
          lost: async (job, cause) => {
            this.lost.push(`${job.id}: ${cause}`);
          },
        },
        pools: { pool: () => POOL },
        shareOf: (job) => shareOf(job, DEFAULT_POLICY),
        keys: KEYS,
        rerunLost: this.rerunLost,
        machines: { isGone: ({ hostname }) => this.fleet.gone.has(hostname) },
        now: Date.now,
        logger: pino({ level: 'debug' }, { write }),
      },
      lease: new Lease({ redis: this.#redis.connect(), fleet: this.#name }),
      plannerConfig: { ...DEFAULT_PLANNER_CONFIG, completionGraceMs: 1_000, ...this.config },
      tickMs: 100,
    });
    this.#running.push(reconciler);
    return reconciler;
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((reconciler) => reconciler.stop()));
  }

  async close(): Promise<void> {
    await this.stopAll();
    this.evidence.close();
  }

  get secretWasLogged(): boolean {
    return this.lines.some((line) => line.includes(SECRET));
  }
}
