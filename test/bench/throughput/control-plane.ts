/** The control plane as app/main.ts composes it, with everything real but GitHub and the hosts. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { pino } from 'pino';
import { EvidenceStore } from '../../../app/evidence/evidence-store.ts';
import { createJobIntake } from '../../../app/intake/job-intake.ts';
import { type IntakeQueue, openIntakeQueue } from '../../../app/intake/queue.ts';
import { createWebhookHandler, WEBHOOK_PATH } from '../../../app/intake/webhooks.ts';
import { startIntakeWorker } from '../../../app/intake/worker.ts';
import { VmKeys } from '../../../app/keys/vm-keys.ts';
import { classifyJob } from '../../../app/labels/classify-job.ts';
import { shareOf } from '../../../app/labels/job-share.ts';
import { DEFAULT_POLICY } from '../../../app/labels/policy.ts';
import { createLogger } from '../../../app/log.ts';
import { DEFAULT_PLANNER_CONFIG, type PlannerConfig } from '../../../app/planner/observed.ts';
import type { JobNotices } from '../../../app/reconciler/ports.ts';
import { Reconciler } from '../../../app/reconciler/reconciler.ts';
import { Lease } from '../../../app/records/lease.ts';
import { RecordStore } from '../../../app/records/record-store.ts';
import type { JobFacts } from '../../../app/records/records.ts';
import { openRedis } from '../../../app/redis/open-redis.ts';
import { ShutdownStack } from '../../../app/shutdown-stack.ts';
import { FleetInMemory, POOL } from './fleet-in-memory.ts';
import { GithubInMemory } from './github-in-memory.ts';
import type { GithubOptions } from './github-messages.ts';

const FLEET = 'bench';
const TICK_MS = 2_000;
/** On the disk, where evidence is kept: a file system in memory would make its fsyncs free. */
const DISK = '/var/tmp';

export interface Setting extends Pick<GithubOptions, 'jobs' | 'openJobs' | 'held'> {
  readonly hosts: number;
}

export interface RunningControlPlane {
  readonly github: GithubInMemory;
  readonly fleet: FleetInMemory;
  readonly store: RecordStore;
  readonly evidence: EvidenceStore;
  readonly queue: IntakeQueue;
  /** Jobs that the control plane told their authors were lost or refused. */
  readonly complaints: readonly string[];
  /** Microseconds of CPU that redis-server has used. */
  redisCpuUs(): Promise<number>;
  close(): Promise<void>;
}

/** On failure what was opened is closed again. */
export async function openControlPlane(setting: Setting): Promise<RunningControlPlane> {
  const dataDir = await mkdtemp(join(DISK, 'architect-bench-'));
  const parts = new ShutdownStack(pino({ level: 'silent' }));
  parts.add('folder', { close: () => rm(dataDir, { recursive: true, force: true }) });
  try {
    return await assemble(setting, dataDir, parts);
  } catch (error) {
    await parts.close();
    throw error;
  }
}

async function assemble(
  setting: Setting,
  dataDir: string,
  parts: ShutdownStack,
): Promise<RunningControlPlane> {
  const github = describeApp();
  const logger = createLogger(
    { logLevel: 'info', fleet: FLEET, github },
    pino.destination({ dest: join(dataDir, 'log'), sync: true }),
  );
  const redis = parts.add(
    'redis',
    await openRedis({ dataDir, fleet: FLEET, redisUrl: undefined }, logger),
  );
  const { commands } = redis.connections;
  const evidence = parts.add('evidence', EvidenceStore.open(join(dataDir, 'evidence.db')));
  const store = new RecordStore({ redis: commands, fleet: FLEET });
  const book = { store, evidence, classify };
  const queue = parts.add('queue', openIntakeQueue(redis, logger));
  const handler = await createWebhookHandler({ github, queue, logger });
  const server = createServer((request, response) => {
    if (!handler(request, response)) response.writeHead(404).end();
  });
  const webhookUrl = await listen(server);
  parts.add('front door', { close: () => closeServer(server) });
  const { webhookSecret } = github;
  const outside = parts.add(
    'GitHub',
    new GithubInMemory({ ...setting, webhookUrl, webhookSecret }),
  );
  const fleet = new FleetInMemory(setting.hosts, (name) => outside.runnerOnline(name));
  outside.onRunnerExit = (name) => fleet.runnerExited(name);
  const { notices, complaints } = collectComplaints();
  const reconciler = new Reconciler({
    ports: {
      ...book,
      ...{ fleet, notices, logger, runners: outside, jobSource: outside, now: Date.now },
      pools: { pool: () => POOL },
      shareOf: (job) => shareOf(job, DEFAULT_POLICY),
      keys: new VmKeys(randomBytes(32)),
    },
    lease: new Lease({ redis: commands, fleet: FLEET }),
    plannerConfig: plannerConfigOf(setting),
    tickMs: TICK_MS,
  });
  const nudge = () => reconciler.nudge();
  const intake = createJobIntake({ book, notices, nudge, logger });
  parts.add('worker', startIntakeWorker({ redis, intake, logger }));
  parts.add('reconciler', { close: () => reconciler.stop() });
  reconciler.start();
  return {
    ...{ github: outside, fleet, store, evidence, queue, complaints },
    redisCpuUs: async () => parseRedisCpu(await commands.info('cpu')),
    close: () => parts.close(),
  };
}

/** Jobs that are held keep their VMs. */
function plannerConfigOf({ held, jobs }: Setting): PlannerConfig {
  return held === true ? { ...DEFAULT_PLANNER_CONFIG, maxVms: jobs } : DEFAULT_PLANNER_CONFIG;
}

function classify({ labels, origin }: JobFacts) {
  return classifyJob({ labels, repository: `${origin.owner}/${origin.repo}` }, DEFAULT_POLICY);
}

function collectComplaints(): { notices: JobNotices; complaints: readonly string[] } {
  const complaints: string[] = [];
  const note = async (job: { readonly id: string }, why: string) => {
    complaints.push(`${job.id}: ${why}`);
  };
  return { notices: { refused: note, lost: note }, complaints };
}

/** An App whose GitHub nobody answers for: what is measured calls it for nothing. */
export function describeApp() {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const webhookSecret = randomBytes(32).toString('hex');
  return { apiUrl: 'http://127.0.0.1:9', appId: 1, privateKey, webhookSecret };
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}${WEBHOOK_PATH}`;
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}

/** Microseconds, from INFO. */
export function parseRedisCpu(info: string): number {
  const seconds = ['used_cpu_sys', 'used_cpu_user'].map((name) =>
    Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1] ?? 0),
  );
  return Math.round(seconds.reduce((sum, one) => sum + one, 0) * 1e6);
}
