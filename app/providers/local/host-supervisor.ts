/**
 * Starts again what dies on hosts that run: looks at every host's two processes by pid and start
 * time, its own children or not. It takes no input but the records on disk.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isRunning } from '../../process-ref.ts';
import { machineExists } from './host-machine.ts';
import type { Starters } from './host-processes.ts';
import {
  type FleetHome,
  type MachineRecord,
  readMachine,
  readMachines,
  writeMachine,
} from './machine-record.ts';
import { countDeath, type Lives, restartDelayMs } from './restart-delay.ts';

const LOOK_INTERVAL_MS = 250;
const ROLES = ['agent', 'metadata'] as const;
type Role = (typeof ROLES)[number];

export interface Supervision {
  readonly at: FleetHome;
  readonly starters: Starters;
  readonly logger: Logger;
}

export interface HostSupervisor {
  /** May be started again after a stop; started twice it does nothing. */
  start(): void;
  stop(): Promise<void>;
  /** Runs `act` while no look is under way, so that nothing is started behind its back. */
  idle<T>(act: () => Promise<T>): Promise<T>;
}

type Watched = Lives & { readonly dueAtMs: number | undefined };

export function createHostSupervisor(supervision: Supervision): HostSupervisor {
  const watched = new Map<string, Watched>();
  let stopping: AbortController | undefined;
  let loop: Promise<void> = Promise.resolve();
  let busy: Promise<unknown> = Promise.resolve();

  const idle = <T>(act: () => Promise<T>): Promise<T> => {
    const turn = busy.then(act);
    busy = turn.catch(() => undefined);
    return turn;
  };
  const watch = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await idle(() => lookAtAll(supervision, watched)).catch((error: unknown) =>
        supervision.logger.warn({ err: error }, 'could not look after the local hosts'),
      );
      await sleep(LOOK_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    }
  };
  return {
    start: () => {
      if (stopping !== undefined) return;
      stopping = new AbortController();
      loop = watch(stopping.signal);
    },
    stop: async () => {
      stopping?.abort();
      stopping = undefined;
      await loop;
    },
    idle,
  };
}

async function lookAtAll(supervision: Supervision, watched: Map<string, Watched>): Promise<void> {
  const { at } = supervision;
  const records = await readMachines(at);
  for (const record of records) {
    if (record.state !== 'running' || !machineExists(at.fleet, record.machineId)) continue;
    for (const role of ROLES) await lookAt(supervision, watched, record, role);
  }
}

async function lookAt(
  { at, starters, logger }: Supervision,
  watched: Map<string, Watched>,
  known: MachineRecord,
  role: Role,
): Promise<void> {
  const { machineId, [role]: ref } = known;
  const key = `${machineId} ${role}`;
  const nowMs = performance.now();
  const lives = watched.get(key) ?? { deaths: 0, startedAtMs: nowMs, dueAtMs: undefined };
  watched.set(key, lives);
  if (ref !== null && isRunning(ref)) return;
  if (lives.dueAtMs === undefined) {
    const deaths = countDeath(lives, nowMs);
    const delayMs = restartDelayMs(deaths);
    watched.set(key, { ...lives, deaths, dueAtMs: nowMs + delayMs });
    logger.warn({ machineId, role, deaths, delayMs }, 'a process of a local host died');
    return;
  }
  if (nowMs < lives.dueAtMs) return;
  const started = await starters[role](machineId);
  const record = await readMachine(at, machineId);
  if (record !== undefined) await writeMachine(at, { ...record, [role]: started });
  watched.set(key, { deaths: lives.deaths, startedAtMs: nowMs, dueAtMs: undefined });
}
