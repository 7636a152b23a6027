import { setTimeout as sleep } from 'node:timers/promises';

const LIMIT_MS = 30_000;
const INTERVAL_MS = 50;

/** Waits for a condition; answers what it gave first that is not undefined. */
export async function until<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(INTERVAL_MS);
  }
}
