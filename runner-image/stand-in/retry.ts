/**
 * Which failures are tried again, and how often, as the official runner does it.
 *
 *   session    every 30 s; gives up at once when the runner is unknown      BrokerMessageListener.cs
 *   any other  5 attempts, 5 to 15 s apart, 100 s each: acquire, poll,      RunnerService.cs,
 *   call       renew, step, result; not when the server says no             RunServer.cs, BrokerServer.cs
 *   renewal    beyond that: until the lock is 5 minutes past its end        JobDispatcher.cs
 *   log        a new connection 0.1 to 0.5 s after the old one broke        JobServer.cs
 *   farewell   one attempt of 30 s                                          BrokerMessageListener.cs
 *
 * So a refused connection ends the job within 20 to 60 s, and silence within about 9 minutes.
 */
import { setTimeout as delay } from 'node:timers/promises';

export const REQUEST_TIMEOUT_MS = 100_000;
export const FAREWELL_TIMEOUT_MS = 30_000;
export const SESSION_RETRY_MS = 30_000;
export const SESSION_ATTEMPTS = 20;
export const LOCK_EXTRA_MS = 5 * 60_000;
const ATTEMPTS = 5;
const BACKOFF_MS: Range = [5_000, 15_000];
const LOG_RECONNECT_MS: Range = [100, 500];

type Range = readonly [leastMs: number, mostMs: number];

/** The server understood and said no: trying again cannot help. */
export class ServerRefusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function reconnectDelay(signal?: AbortSignal): Promise<void> {
  return pause(LOG_RECONNECT_MS, signal);
}

/** Rejects with the last failure after five attempts, at once with a ServerRefusal or an abort. */
export async function retryRequest<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (error instanceof ServerRefusal || signal?.aborted || attempt === ATTEMPTS) throw error;
      console.error(`Request failed: ${String(error)}. ${ATTEMPTS - attempt} attempts left.`);
      await pause(BACKOFF_MS, signal);
    }
  }
}

async function pause([leastMs, mostMs]: Range, signal?: AbortSignal): Promise<void> {
  const ms = leastMs + Math.random() * (mostMs - leastMs);
  await delay(ms, undefined, signal === undefined ? {} : { signal });
}
