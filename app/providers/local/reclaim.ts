/**
 * Takes a simulated host back as a spot cloud does: a notice at its metadata service, and at the
 * deadline the machine's end, whether it was emptied or not.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { removeMachine } from './host-machine.ts';
import { controlSocket } from './host-processes.ts';
import { type FleetHome, readMachine, writeMachine } from './machine-record.ts';
import { NO_NOTICES, type Notices } from './metadata-answers.ts';
import { sendNotices } from './notice-control.ts';

export interface Reclaim {
  readonly machineId: string;
  /** From the notice to the end; EC2 gives 120,000. */
  readonly noticeMs: number;
}

export interface ReclaimedHost {
  readonly deadlineMs: number;
  /** Resolves when nothing is left of the machine; rejects when something is, or by the signal. */
  readonly ended: Promise<void>;
}

export interface ReclaimOptions extends Reclaim {
  readonly at: FleetHome;
  readonly signal: AbortSignal;
  /** Ends the machine; by default as from any process, beside the one that supervises it. */
  readonly end?: () => Promise<void>;
}

/** Resolves when the notice is given. An abort before the deadline leaves notice and machine. */
export async function reclaimHost(options: ReclaimOptions): Promise<ReclaimedHost> {
  const { at, machineId, noticeMs, signal } = options;
  const deadlineMs = Date.now() + noticeMs;
  await sendNotices(controlSocket(at, machineId), noticeOf(deadlineMs));
  const end = options.end ?? (() => endMachine(at, machineId));
  const ended = delay(Math.max(0, deadlineMs - Date.now()), undefined, { signal }).then(end);
  // Whoever needs to know awaits it.
  ended.catch(() => undefined);
  return { deadlineMs, ended };
}

/** In whole seconds, as EC2 tells it, and never later than the machine's end. */
export function noticeOf(deadlineMs: number): Notices {
  const time = `${new Date(deadlineMs).toISOString().slice(0, 19)}Z`;
  return { ...NO_NOTICES, instanceAction: { action: 'terminate', time } };
}

/** Power off: every process in the host and in its VMs dies at once. Idempotent. */
export async function endMachine(at: FleetHome, machineId: string): Promise<void> {
  const known = await readMachine(at, machineId);
  if (known !== undefined) await writeMachine(at, { ...known, state: 'terminating' });
  await removeMachine(at, machineId);
}
