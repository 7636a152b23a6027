/**
 * The control plane's composition root: builds every adapter, hands them to each other, and takes
 * them down in reverse order. Nothing else in app/ knows which implementation it talks to.
 *
 *   GitHub ─webhook→ front door → intake queue → worker → records ─nudge→ reconciler → fleet → hosts
 */
import 'reflect-metadata';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { PoolSpec } from '../host-agent/protocol/host-facts.ts';
import { HostId } from '../host-agent/protocol/ids.ts';
import { type AgentEndpoint, startAgentEndpoint } from './agents/agent-endpoint.ts';
import { openCertificateAuthority } from './agents/certificate-authority.ts';
import { EnrolmentStore } from './agents/enrolment.ts';
import { AgentFleet } from './agents/fleet.ts';
import { GatewayFleet } from './agents/gateway-fleet.ts';
import { UnderlayBook } from './agents/underlay-book.ts';
import { UnderlayDesk, WHY_UNDECLARED } from './agents/underlay-desk.ts';
import { startApi } from './api/api-server.ts';
import { ensureApiToken } from './api/api-token.ts';
import { createApiPorts } from './api-ports.ts';
import { appsOf, type Config } from './config.ts';
import { EvidenceStore } from './evidence/evidence-store.ts';
import { openFrontDoor } from './front-door.ts';
import { ActingBook } from './gateways/acting-book.ts';
import { GatewayKeeper } from './gateways/gateway-keeper.ts';
import { GatewayPairs } from './gateways/gateway-pairs.ts';
import { holdsPrivateKey, NEW_KEY_ADVICE } from './github/app-key.ts';
import { createGithubApps } from './github/apps.ts';
import { createGithubNotices } from './github/checks.ts';
import { createTokenClient } from './github/client.ts';
import { createGithubJobSource } from './github/job-source.ts';
import { RepositoryFiles } from './github/repository-files.ts';
import { createGithubRunners } from './github/runners.ts';
import { openGuestDesk } from './guests/open-guest-desk.ts';
import type { GuestDesk } from './guests/ports.ts';
import { classifyFacts } from './intake/classify-facts.ts';
import { createJobIntake } from './intake/job-intake.ts';
import { startGithubPoll } from './intake/poll/start-github-poll.ts';
import { openIntakeQueue } from './intake/queue.ts';
import { createWebhookHandler } from './intake/webhooks.ts';
import { withRepositoryFiles } from './intake/with-repository-files.ts';
import { startIntakeWorker } from './intake/worker.ts';
import { openMasterKey } from './keys/master-key.ts';
import { VmKeys } from './keys/vm-keys.ts';
import { shareOf } from './labels/job-share.ts';
import { createLogger } from './log.ts';
import { DEFAULT_PLANNER_CONFIG, type PlannerConfig } from './planner/observed.ts';
import { readPool } from './pool.ts';
import { openProvider } from './providers/open-provider.ts';
import type { NoticeListener, Provider } from './providers/provider.ts';
import type { EnrolledHosts } from './providers/static/static-provider.ts';
import { changeVm } from './reconciler/executor.ts';
import { type BuyerOptions, FleetBuyer } from './reconciler/fleet/fleet-buyer.ts';
import { MachineWatch } from './reconciler/machine-watch.ts';
import { Reconciler } from './reconciler/reconciler.ts';
import { Lease } from './records/lease.ts';
import { RecordStore } from './records/record-store.ts';
import type { JobFacts, JobRecord } from './records/records.ts';
import { openRedis } from './redis/open-redis.ts';
import { ConfigError } from './settings/config-error.ts';
import type { Address } from './settings/settings.ts';
import { ShutdownStack } from './shutdown-stack.ts';
import { VERSION } from './version.ts';

const LAUNCH_TOKEN_TTL_MS = 10 * 60_000;

export interface ControlPlane {
  /** Hosts and VMs go on: the next control plane finds them. Reports every part that failed to end. */
  close(): Promise<void>;
}

/** Resolves when every listener is open; on failure what was opened is closed again. Throws ConfigError. */
export async function startControlPlane(config: Config): Promise<ControlPlane> {
  const keyless = appsOf(config.github).find(({ privateKey }) => !holdsPrivateKey(privateKey));
  if (keyless !== undefined)
    throw new ConfigError(`privateKeyFile of App ${keyless.appId} holds no key. ${NEW_KEY_ADVICE}`);
  const logger = createLogger(config);
  for (const path of config.exposedFiles)
    logger.warn({ path }, 'others may read this secret; do: chmod 600 PATH');
  const parts = new ShutdownStack(logger);
  try {
    await assemble(config, logger, parts);
    return { close: () => parts.close() };
  } catch (error) {
    await parts.close();
    throw error;
  }
}

async function assemble(config: Config, logger: Logger, parts: ShutdownStack): Promise<void> {
  await makeFolders(config);
  const now = Date.now;
  const pool = readPool(config);
  const redis = parts.add('redis', await openRedis(config, logger));
  const evidence = parts.add('evidence', EvidenceStore.open(join(config.dataDir, 'evidence.db')));
  const store = new RecordStore({ redis: redis.connections.commands, fleet: config.fleet });
  const lease = new Lease({ redis: redis.connections.commands, fleet: config.fleet });
  const { client, ...github } = openGithub(config, logger);
  const { policy, repositoryFiles } = config;
  const files = new RepositoryFiles({ client, policy, logger, now });
  const book = {
    store,
    evidence,
    classify: (facts: JobFacts) =>
      classifyFacts(facts, { ...files.policyFor(facts.origin), pool, evidence }),
  };
  const enrolled = enrolledHosts(() => agents);
  const hosts = parts.add('provider', await openProvider(config, { enrolled, pool, logger }));
  const agents = await openAgents({
    config,
    logger,
    parts,
    pool,
    lease,
    listen: hosts.agentsListen,
    guests: openGuestDesk({
      ...{ store, evidence, now, rules: { policy, pool } },
      nudge: () => reconciler.nudge(),
    }),
  });
  const { fleet, enrolment } = agents;
  const acting = parts.add('acting gateways', new ActingBook(join(config.dataDir, 'gateways.db')));
  const pairs = new GatewayPairs({ port: agents.gateways, book: acting, fleet, logger });
  const gateways = new GatewayKeeper({
    ...{ port: agents.gateways, store, fleet, pairs, now, logger },
    changeVm: (id, change) => changeVm({ store, evidence, now }, id, change),
  });
  const { provider } = hosts;
  const machines = provider.knowsEnds ? new MachineWatch(evidence) : undefined;
  const keys = new VmKeys(await openMasterKey(config.dataDir));
  const tokens = launchTokens(enrolment, provider.policy?.joinLimitMs ?? LAUNCH_TOKEN_TTL_MS);
  const buyer = openBuyer({ provider, tokens, fleet, evidence, now, logger });
  const moving = {
    keys,
    rerunLost: config.rerunLost,
    gateways,
    ...(machines === undefined ? {} : { machines }),
    ...(buyer === undefined ? {} : { emptying: () => buyer.emptyingHosts() }),
  };
  const pools = { pool: () => pool };
  const share = (job: JobRecord) => shareOf(job, files.policyFor(job.origin).policy);
  const reconciler = new Reconciler({
    ports: { ...book, ...github, ...moving, fleet, pools, shareOf: share, now, logger },
    lease,
    plannerConfig: plannerConfigOf(config),
    tickMs: config.tickMs,
    hosts: { provider, tokens, watch: machines, buyer },
    onFollow: () => {
      for (const one of [fleet, agents.gateways]) one.disconnectAll('another process reconciles');
    },
  });
  const queue = parts.add('intake queue', openIntakeQueue(redis, logger));
  const ports = createApiPorts({
    ...book,
    ...agents,
    keeper: gateways,
    redis,
    lease,
    queue,
    nudge: () => reconciler.nudge(),
    pool: () => pool,
    waiting: reconciler,
    market: { provider, buyer },
    version: VERSION,
  });
  const webhooks = await createWebhookHandler({ github: config.github, queue, logger });
  parts.add('front door', await openFrontDoor({ ...config, webhooks, readiness: ports.readiness }));
  const { apiSocket: socketPath, apiListen } = config;
  const token = await ensureApiToken(config.dataDir);
  parts.add('API', await startApi({ socketPath, listen: apiListen, token, ports, now, logger }));
  const nudge = () => reconciler.nudge();
  const plainIntake = createJobIntake({ book, notices: github.notices, nudge, logger });
  const intake = repositoryFiles
    ? withRepositoryFiles(plainIntake, { files, policy })
    : plainIntake;
  const appOf = (installationId: number) => client.appOf(installationId);
  parts.add('intake worker', startIntakeWorker({ redis, intake, appOf, logger }));
  const { pollMs: intervalMs } = config;
  const isLeader = () => lease.held;
  const { jobSource, runners } = github;
  const questions = { client, jobSource, runners, intervalMs, isLeader };
  const polling = { ...questions, book, intake, now, logger };
  parts.add('poll of GitHub', startGithubPoll(polling));
  parts.add('reconciler', { close: () => reconciler.stop() });
  agents.gateways.onChange(() => {
    reconciler.nudge();
    gateways.watch().catch((err: unknown) => logger.error({ err }, 'no takeover'));
  });
  reconciler.start();
  parts.add('notices', listenForNotices(provider, { fleet, lease }));
  logger.info({ listen: config.listen, pool: pool.id }, 'the control plane is up');
}

/** QEMU runs without privileges and its files are below: others may pass through, not look. */
async function makeFolders({ dataDir, store }: Config): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o711 });
  } catch (cause) {
    const what = `Cannot make the data folder ${dataDir}.`;
    throw new ConfigError(`${what} Run architect as root, or change home.`, { cause });
  }
  if (store?.kind === 'folder') await mkdir(store.path, { recursive: true, mode: 0o700 });
}

/** Undefined: the provider's hosts cost nothing, so it keeps as many as it is told to. */
function openBuyer(parts: Omit<BuyerOptions, 'policy'>): FleetBuyer | undefined {
  const { policy } = parts.provider;
  return policy === undefined ? undefined : new FleetBuyer({ ...parts, policy });
}

function listenForNotices(
  provider: Provider,
  { fleet, lease }: { readonly fleet: AgentFleet; readonly lease: Lease },
) {
  const closing = new AbortController();
  const listener: NoticeListener = {
    isListening: () => lease.held,
    heard: ({ machineId, notice }) => fleet.hear(machineId, notice),
  };
  const listening = provider.watchNotices?.(listener, closing.signal);
  const close = async () => {
    closing.abort();
    await listening;
  };
  return { close };
}

function plannerConfigOf({ linkBytesPerSecond, store }: Config): PlannerConfig {
  return { ...DEFAULT_PLANNER_CONFIG, linkBytesPerSecond, canPark: store !== undefined };
}

function openGithub(config: Config, logger: Logger) {
  const client = createGithubApps({ github: config.github, logger });
  const { cancelRefusedRuns, runnerGroupId, enterprise } = config;
  return {
    client,
    runners: createGithubRunners({
      ...{ client, runnerGroupId },
      enterprise: enterprise && {
        ...enterprise,
        client: createTokenClient({ github: config.github, token: enterprise.token, logger }),
      },
    }),
    notices: createGithubNotices({ client, cancelRefusedRuns, logger }),
    jobSource: createGithubJobSource({ client, logger }),
  };
}

interface AgentParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly parts: ShutdownStack;
  readonly pool: PoolSpec;
  readonly lease: Lease;
  readonly guests: GuestDesk;
  /** Where the provider's hosts reach this process. */
  readonly listen: Address;
}

interface AgentDoor {
  readonly enrolment: EnrolmentStore;
  readonly fleet: AgentFleet;
  readonly gateways: GatewayFleet;
  readonly underlay: UnderlayDesk;
  readonly endpoint: AgentEndpoint;
}

async function openAgents(given: AgentParts): Promise<AgentDoor> {
  const { config, logger, parts, pool, lease, listen, guests } = given;
  const now = Date.now;
  const authority = await openCertificateAuthority(join(config.dataDir, 'ca'), now());
  const url = config.agentsUrl ?? `https://${listen.host}:${listen.port}`;
  const enrolment = parts.add(
    'enrolment',
    new EnrolmentStore(join(config.dataDir, 'enrolment.db'), { url, caSha256: authority.sha256 }),
  );
  refuseUndeclared(config, enrolment);
  const book = parts.add('underlay', new UnderlayBook(join(config.dataDir, 'underlay.db')));
  const underlay = new UnderlayDesk({ policy: config.underlay, book, enrolment, now });
  const shared = { enrolment, underlay, now, logger };
  const { store } = config;
  const fleet = parts.add('fleet', new AgentFleet({ ...shared, pool: () => pool, store, guests }));
  const gateways = parts.add('gateways', new GatewayFleet(shared));
  const endpoint = parts.add(
    'agent endpoint',
    await startAgentEndpoint({
      listen,
      names: [new URL(url).hostname, hostname()],
      authority,
      enrolment,
      fleet,
      gateways,
      underlay,
      artifactsDir: config.artifactsDir,
      isLeader: () => lease.held,
      now,
      logger,
    }),
  );
  return { enrolment, fleet, gateways, underlay, endpoint };
}

/** Throws ConfigError where a gateway's tunnel would run on a network that nobody vouches for. */
function refuseUndeclared({ underlay }: Config, enrolment: EnrolmentStore): void {
  const [gateway] = enrolment.hostsSeenSince(0, 'gateway');
  if (underlay.kind !== 'undeclared' || gateway === undefined) return;
  throw new ConfigError(`The gateway ${gateway.hostId} is enrolled. ${WHY_UNDECLARED}`);
}

/** Good for as long as a machine is given to join. */
function launchTokens(enrolment: EnrolmentStore, ttlMs: number) {
  return { issue: () => enrolment.issueEnrolmentToken({ ttlMs, nowMs: Date.now() }) };
}

/** What the static provider lists: every machine that joined and was not revoked. */
function enrolledHosts(
  agents: () => Pick<AgentDoor, 'enrolment' | 'fleet' | 'underlay'>,
): EnrolledHosts {
  return {
    enrolledHosts: async () =>
      agents()
        .enrolment.hostsSeenSince(0)
        .map(({ hostId, enrolledAtMs }) => ({
          machineId: hostId,
          offerId: 'static',
          state: 'running' as const,
          launchedAtMs: enrolledAtMs,
        })),
    forgetHost: async (machineId) => {
      const { enrolment, fleet, underlay } = agents();
      const hostId = HostId.parse(machineId);
      if (!enrolment.revoke(hostId, Date.now())) return;
      fleet.expel(hostId);
      underlay.changed();
    },
  };
}
