/**
 * Waits for something that the control plane does by itself, and says how it goes. Ctrl-C ends the
 * waiting and not the thing.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CliError } from './cli-error.ts';
import type { Output } from './output.ts';

const POLL_MS = 300;
/** A shorter wait is not talked about. */
const SILENT_MS = 1_000;
const FOLLOW_LIMIT_MS = 30 * 60_000;

export interface Followed<T> {
  readonly read: () => Promise<T>;
  readonly isOver: (value: T) => boolean;
  readonly describe: (value: T) => string;
  /** What to do when the waiting ends before it does. */
  readonly whenStopped: string;
}

/** The last value. Throws CliError when stopped by Ctrl-C or after FOLLOW_LIMIT_MS. */
export async function follow<T>(output: Output, followed: Followed<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal);
  const beganAtMs = performance.now();
  let told = '';
  try {
    for (;;) {
      const value = await followed.read();
      if (followed.isOver(value)) return value;
      const ageMs = performance.now() - beganAtMs;
      const text = followed.describe(value);
      if (ageMs > SILENT_MS && text !== told) output.writeProgress(`${text}\n`);
      if (ageMs > SILENT_MS) told = text;
      if (ageMs > FOLLOW_LIMIT_MS) stop.abort();
      await delay(POLL_MS, undefined, { signal: stop.signal });
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new CliError(followed.whenStopped);
  } finally {
    process.off('SIGINT', onSignal);
  }
}
