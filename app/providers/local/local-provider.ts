/**
 * The provider whose hosts are network namespaces on this machine. Their agents and VMs are real.
 *
 *   launch ──→ launching ──→ running ──→ terminating ──→ gone
 *                  └──────────────────────────↑
 *
 * Invariants:
 *   - A host exists when its record and its namespace do. A record without a namespace (a reboot)
 *     or one that never got beyond `launching` (a crash) is cleared away by `start`.
 *   - Hosts outlive the process that launched them: the next one finds them on disk and goes on
 *     supervising. `stop` leaves them running.
 *   - An agent that dies is started again, with back-off; one on a host that terminates is not.
 *   - One process of a fleet supervises at a time (the holder of the reconciler's lease).
 */
import { writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Capacity } from '../../../host-agent/protocol/host-facts.ts';
import type { LaunchRequest, Offer, Provider, ProviderHost } from '../provider.ts';
import { createMachine, machineExists, removeMachine } from './host-machine.ts';
import {
  controlSocket,
  DEFAULT_AGENT_COMMAND,
  planAgentEnvironment,
  type Starters,
  startHostProcess,
  startMetadataService,
  tokenFile,
} from './host-processes.ts';
import { createHostSupervisor } from './host-supervisor.ts';
import { LocalCapacityError } from './local-errors.ts';
import { machineIdOf } from './local-names.ts';
import type { LocalNetwork } from './local-network.ts';
import {
  type FleetHome,
  listMachineIds,
  type MachineRecord,
  readMachine,
  readMachines,
  writeMachine,
} from './machine-record.ts';
import type { Notices } from './metadata-answers.ts';
import { sendNotices } from './notice-control.ts';
import { endMachine, type Reclaim, type ReclaimedHost, reclaimHost } from './reclaim.ts';

const MAX_HOSTS = 200;

export interface LocalProviderOptions {
  readonly home: string;
  readonly network: LocalNetwork;
  readonly artifactsDir: string;
  readonly desiredHosts: number;
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly diskGib?: number;
  /** Instead of this project's host-agent. */
  readonly agentCommand?: readonly string[];
  /** More of host-agent/config.ts, for example ARCHITECT_LOG_LEVEL. */
  readonly agentEnvironment?: Readonly<Record<string, string>>;
  readonly logger: Logger;
}

export interface LocalProvider extends Provider {
  /** Clears away what a crash left half-made and supervises the hosts that run. */
  start(): Promise<void>;
  /** Stops supervising. Hosts run on. */
  stop(): Promise<void>;
  /** What the host's metadata service says from now on. */
  setNotices(machineId: string, notices: Notices): Promise<void>;
  /** A notice now, and the machine's end at its deadline. `stop` leaves a machine that was noticed. */
  reclaimHost(reclaim: Reclaim): Promise<ReclaimedHost>;
}

/** Nothing happens on the machine before `start`, `launch` or `terminate`. */
export function createLocalProvider(options: LocalProviderOptions): LocalProvider {
  const { network, logger } = options;
  const at: FleetHome = { home: options.home, fleet: network.fleet };
  const offer = describeOffer(options);
  const stopped = new AbortController();
  const launching = new Map<string, Promise<ProviderHost>>();
  const starters = {
    agent: (machineId: string) => startAgent(at, machineId, options),
    metadata: (machineId: string) => startMetadataService(at, machineId, sizeText(options)),
  };
  const supervisor = createHostSupervisor({ at, starters, logger });
  const build = (request: LaunchRequest, signal: AbortSignal) =>
    buildHost({ at, network, starters, request, signal, logger });

  return {
    name: 'local',
    desiredHosts: options.desiredHosts,
    knowsEnds: true,
    offers: async () => [offer],
    launch: (request, signal) => {
      const running = launching.get(request.clientToken);
      if (running !== undefined) return running;
      const launch = build(request, signal).finally(() => launching.delete(request.clientToken));
      launching.set(request.clientToken, launch);
      return launch;
    },
    list: async (signal) => {
      signal.throwIfAborted();
      const records = await readMachines(at);
      return records.filter(({ machineId }) => machineExists(at.fleet, machineId)).map(toHost);
    },
    terminate: async (machineId, signal) => {
      signal.throwIfAborted();
      await supervisor.idle(() => terminate(at, machineId));
    },
    start: async () => {
      await clearHalfMade(at, logger);
      supervisor.start();
    },
    stop: () => {
      stopped.abort();
      return supervisor.stop();
    },
    setNotices: (machineId, notices) => sendNotices(controlSocket(at, machineId), notices),
    reclaimHost: (reclaim) =>
      reclaimHost({
        ...{ ...reclaim, at, signal: stopped.signal },
        end: () => supervisor.idle(() => terminate(at, reclaim.machineId)),
      }),
  };
}

interface Build {
  readonly at: FleetHome;
  readonly network: LocalNetwork;
  readonly starters: Starters;
  readonly request: LaunchRequest;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

let lastClaim: Promise<unknown> = Promise.resolve();

async function buildHost(build: Build): Promise<ProviderHost> {
  const { at, request, signal, logger } = build;
  signal.throwIfAborted();
  const machineId = machineIdOf(request.clientToken);
  const known = await readMachine(at, machineId);
  if (known?.state === 'running' && machineExists(at.fleet, machineId)) return toHost(known);
  await removeMachine(at, machineId);
  try {
    const record = await claimRecord(build, machineId);
    const running = await bringUp(build, record);
    logger.info({ machineId }, 'launched a local host');
    return toHost(running);
  } catch (cause) {
    await removeMachine(at, machineId);
    throw cause;
  }
}

async function bringUp(build: Build, record: MachineRecord): Promise<MachineRecord> {
  const { at, network, starters, request, signal } = build;
  const { machineId, index } = record;
  await createMachine({ network, machineId, index }, signal);
  await writeFile(tokenFile(at, machineId), request.enrolmentToken, { mode: 0o600, flush: true });
  signal.throwIfAborted();
  const metadata = await starters.metadata(machineId);
  const agent = await starters.agent(machineId);
  signal.throwIfAborted();
  const running: MachineRecord = { ...record, state: 'running', metadata, agent };
  await writeMachine(at, running);
  return running;
}

/** One at a time, so that two launches never get the same place on the bridge. */
function claimRecord({ at, request }: Build, machineId: string): Promise<MachineRecord> {
  const claim = lastClaim.then(async () => {
    const taken = new Set((await readMachines(at)).map(({ index }) => index));
    const index = [...Array(MAX_HOSTS).keys()].find((n) => !taken.has(n));
    if (index === undefined)
      throw new LocalCapacityError(`A fleet has at most ${MAX_HOSTS} hosts.`);
    const record: MachineRecord = {
      machineId,
      offerId: request.offerId,
      clientToken: request.clientToken,
      state: 'launching',
      launchedAtMs: Date.now(),
      index,
      agent: null,
      metadata: null,
    };
    await writeMachine(at, record);
    return record;
  });
  lastClaim = claim.catch(() => undefined);
  return claim;
}

function startAgent(at: FleetHome, machineId: string, options: LocalProviderOptions) {
  return startHostProcess({
    ...at,
    machineId,
    command: options.agentCommand ?? DEFAULT_AGENT_COMMAND,
    logName: 'agent.log',
    environment: planAgentEnvironment({
      ...at,
      machineId,
      artifactsDir: options.artifactsDir,
      capacityText: sizeText(options),
      underlayMtu: options.network.mtu,
      extra: options.agentEnvironment ?? {},
    }),
  });
}

async function terminate(at: FleetHome, machineId: string): Promise<void> {
  const known = await readMachine(at, machineId);
  if (known === undefined && !machineExists(at.fleet, machineId)) return;
  await endMachine(at, machineId);
}

async function clearHalfMade(at: FleetHome, logger: Logger): Promise<void> {
  for (const machineId of await listMachineIds(at)) {
    const record = await readMachine(at, machineId);
    if (record?.state === 'running' && machineExists(at.fleet, machineId)) continue;
    logger.info({ machineId }, 'clearing away a host that is gone or was never finished');
    await removeMachine(at, machineId);
  }
}

function describeOffer(options: LocalProviderOptions): Offer {
  const { vcpus, memoryMib, diskGib = 50 } = options;
  const capacity: Capacity = { vcpus, memoryMib, diskGib };
  return {
    id: `local-${sizeText(options)}`,
    capacity,
    spot: true,
    pricePerHourUsd: 0,
    place: 'local',
  };
}

function sizeText({ vcpus, memoryMib }: { vcpus: number; memoryMib: number }): string {
  return `${vcpus}cpu-${Math.floor(memoryMib / 1024)}gb`;
}

function toHost({ machineId, offerId, state, launchedAtMs }: MachineRecord): ProviderHost {
  return { machineId, offerId, state, launchedAtMs };
}
