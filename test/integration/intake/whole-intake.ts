/**
 * Everything between GitHub and the hosts, put together as in production: webhooks, queue, worker, poll,
 * reconciler, the real client. GitHub is the simulated one; hosts answer at once, and a runner that
 * comes online there is given a queued job by GitHub, which may be any.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { z } from 'zod';
import { EvidenceStore } from '../../../app/evidence/evidence-store.ts';
import { createGithubApps } from '../../../app/github/apps.ts';
import { createGithubJobSource } from '../../../app/github/job-source.ts';
import { createGithubRunners } from '../../../app/github/runners.ts';
import { classifyFacts } from '../../../app/intake/classify-facts.ts';
import { createJobIntake } from '../../../app/intake/job-intake.ts';
import { startGithubPoll } from '../../../app/intake/poll/start-github-poll.ts';
import { type IntakeQueue, openIntakeQueue } from '../../../app/intake/queue.ts';
import { createWebhookHandler, WEBHOOK_PATH } from '../../../app/intake/webhooks.ts';
import { startIntakeWorker } from '../../../app/intake/worker.ts';
import { VmKeys } from '../../../app/keys/vm-keys.ts';
import { shareOf } from '../../../app/labels/job-share.ts';
import { DEFAULT_POLICY } from '../../../app/labels/policy.ts';
import { DEFAULT_PLANNER_CONFIG, type PlannerConfig } from '../../../app/planner/observed.ts';
import type { Fleet, JobNotices } from '../../../app/reconciler/ports.ts';
import { Reconciler } from '../../../app/reconciler/reconciler.ts';
import { Lease } from '../../../app/records/lease.ts';
import { RecordStore } from '../../../app/records/record-store.ts';
import type { JobFacts } from '../../../app/records/records.ts';
import { openRedis } from '../../../app/redis/open-redis.ts';
import { ShutdownStack } from '../../../app/shutdown-stack.ts';
import { FleetInMemory, POOL } from '../../bench/throughput/fleet-in-memory.ts';
import { GitHubFixture } from '../../contract/github/fixture.ts';
import type { Job, Runner } from '../../fakes/github/model.ts';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { serves } from '../../fakes/github/world.ts';
import { IN_REAL_TIME, MINUTE_MS } from './pace.ts';
import { appsAt } from './two-apps.ts';

const FLEET = 'whole';
const HOSTS = 8;
/** The hosts have room for no more. */
export const MAX_VMS = 64;
const TICK_MS = IN_REAL_TIME ? 1_000 : 100;
const DEPTH_LOOK_MS = 50;
const JOB_MS = 50;
/** What the processor needs is no shorter where a minute is a second. */
const PATIENCE = IN_REAL_TIME
  ? {}
  : {
      ...{ startTimeoutMs: 3_600_000, assignTimeoutMs: 3_600_000, completionGraceMs: 600_000 },
      ...{ handshakeLimitMs: 600_000, moveLimitMs: 3_600_000 },
    };
const PLANNER_CONFIG: PlannerConfig = { ...DEFAULT_PLANNER_CONFIG, ...PATIENCE };

export type WholeIntake = Awaited<ReturnType<typeof startWholeIntake>>;

/** Which of the queued jobs GitHub gives a runner; undefined: none now. */
export type Choose = (runner: Runner, queued: readonly Job[]) => Job | undefined;

/** A runner that comes online on them is told of by its name. */
export interface StandInHosts extends Fleet {
  readonly vmCount: number;
  runnerExited(runnerName: string): void;
}

export interface WholeOptions {
  readonly hosts?: (runnerOnline: (runnerName: string) => void) => StandInHosts;
  /** By the machine's clock. */
  readonly pollMs?: number;
  /** How far the control plane's clock is ahead of GitHub's. */
  readonly aheadMs?: number;
}

export async function startWholeIntake(
  given: Partial<GivenOptions> = {},
  { pollMs = MINUTE_MS / 2, aheadMs = 0, hosts = inMemory }: WholeOptions = {},
) {
  const now = () => Date.now() + aheadMs;
  const dataDir = await mkdtemp(join(tmpdir(), 'ar-whole-'));
  const logger = pino({ level: 'silent' });
  const parts = new ShutdownStack(logger);
  parts.add('folder', { close: () => rm(dataDir, { recursive: true, force: true }) });
  const fixture = parts.add('GitHub', await GitHubFixture.start(given));
  const github = appsAt(fixture.github.url, given);
  const redis = parts.add(
    'redis',
    await openRedis({ dataDir, fleet: FLEET, redisUrl: undefined }, logger),
  );
  const { commands } = redis.connections;
  const evidence = parts.add('evidence', EvidenceStore.open(join(dataDir, 'evidence.db')));
  const store = new RecordStore({ redis: commands, fleet: FLEET });
  const policy = DEFAULT_POLICY;
  const classify = (facts: JobFacts) => classifyFacts(facts, { policy, pool: POOL, evidence });
  const book = { store, evidence, classify };
  const queue = parts.add('queue', openIntakeQueue(redis, logger));
  const webhooks = await createWebhookHandler({ github, queue, logger, now });
  fixture.github.simulation.webhooks.url = await serveWebhooks(webhooks, parts);
  const client = createGithubApps({ github, logger, now });
  const fleet = hosts((name) => work.online(name));
  const work = new RunnersAtWork(fixture, fleet);
  const { notices, complaints } = collectComplaints();
  const outside = {
    runners: createGithubRunners({ client, now }),
    jobSource: createGithubJobSource({ client, logger }),
  };
  const lease = new Lease({ redis: commands, fleet: FLEET, now: () => performance.now() });
  const reconciler = new Reconciler({
    ports: {
      ...{ ...book, ...outside, fleet, notices, logger, now },
      pools: { pool: () => POOL },
      shareOf: (job) => shareOf(job, policy),
      keys: new VmKeys(randomBytes(32)),
    },
    lease,
    plannerConfig: PLANNER_CONFIG,
    tickMs: TICK_MS,
  });
  const nudge = () => reconciler.nudge();
  const intake = createJobIntake({ book, notices, nudge, logger, now });
  const appOf = (installationId: number) => client.appOf(installationId);
  parts.add('worker', startIntakeWorker({ redis, intake, appOf, logger }));
  const isLeader = () => lease.held;
  const asking = { ...outside, client, book, intake, isLeader, intervalMs: pollMs };
  parts.add('poll', startGithubPoll({ ...asking, now, logger }));
  parts.add('reconciler', { close: () => reconciler.stop() });
  reconciler.start();
  const watch = parts.add('watch', watchBounds(queue, fleet));
  const seen = { work, complaints, watch };
  return { fixture, fleet, queue, store, evidence, ...seen, close: () => parts.close() };
}

function inMemory(runnerOnline: (runnerName: string) => void): StandInHosts {
  return new FleetInMemory(HOSTS, runnerOnline);
}

async function serveWebhooks(
  handler: Awaited<ReturnType<typeof createWebhookHandler>>,
  parts: ShutdownStack,
): Promise<string> {
  const server = createServer((request, response) => {
    if (!handler(request, response)) response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  parts.add('front door', {
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
  const { port } = z.object({ port: z.int() }).parse(server.address());
  return `http://127.0.0.1:${port}${WEBHOOK_PATH}`;
}

function collectComplaints(): { notices: JobNotices; complaints: readonly string[] } {
  const complaints: string[] = [];
  const note = async (job: { readonly id: string }, why: string) => {
    complaints.push(`${job.id}: ${why}`);
  };
  return { notices: { refused: note, lost: note }, complaints };
}

/** The most that was ever waiting, and the most VMs that there ever were. */
function watchBounds(queue: Pick<IntakeQueue, 'depth'>, fleet: StandInHosts) {
  const most = { queued: 0, vms: 0 };
  const look = async () => {
    const vms = fleet.hosts().flatMap(({ report }) => report?.vms ?? []);
    most.vms = Math.max(most.vms, vms.filter(({ phase }) => phase !== 'stopped').length);
    most.queued = Math.max(most.queued, await queue.depth().catch(() => 0));
  };
  const timer = setInterval(() => void look(), DEPTH_LOOK_MS);
  return { most, close: async () => clearInterval(timer) };
}

/** What GitHub and the guests do: a runner takes a job, runs it for a moment, and is gone. */
export class RunnersAtWork {
  readonly #fixture: GitHubFixture;
  readonly #fleet: StandInHosts;
  /** How often each job was started. */
  readonly starts = new Map<number, number>();
  choose: Choose = (_runner, [first]) => first;
  /** How long a job runs. */
  run: (job: Job) => Promise<unknown> = () => delay(JOB_MS);

  constructor(fixture: GitHubFixture, fleet: StandInHosts) {
    this.#fixture = fixture;
    this.#fleet = fleet;
  }

  online(name: string): void {
    const { world, jobs } = this.#fixture.github.simulation;
    const runner = [...world.runners.values()].find((one) => one.name === name);
    if (runner === undefined) return;
    const queued = [...world.jobs.values()].filter(
      ({ status, run }) => status === 'queued' && serves(runner.scope, run.repository),
    );
    const job = this.choose(runner, queued);
    if (job === undefined) return;
    runner.job = job;
    this.starts.set(job.id, (this.starts.get(job.id) ?? 0) + 1);
    jobs.start(job, runner);
    void this.run(job).then(() => {
      jobs.complete(job, 'success');
      this.#fleet.runnerExited(name);
    });
  }
}
