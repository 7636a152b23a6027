/**
 * One process at a time, on this machine, by SQLite's lock on a file: the kernel drops it with the
 * process that holds it, so a crash leaves nothing to clean up, and it holds across network namespaces.
 */
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError } from './chunk-errors.ts';

const WAIT_LIMIT_MS = 10_000;
const LOOK_AGAIN_MS = 5;
/** https://www.sqlite.org/rescode.html */
const SQLITE_BUSY = 5;

/** Runs `task` with the lock file at `path` held; throws StoreUnavailableError when it stays taken. */
export async function withFolderLock<T>(
  path: string,
  signal: AbortSignal,
  task: () => Promise<T>,
): Promise<T> {
  const lock = new DatabaseSync(path, { timeout: 0 });
  try {
    await takeLock(lock, signal);
    return await task();
  } finally {
    lock.close();
  }
}

async function takeLock(lock: DatabaseSync, signal: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + WAIT_LIMIT_MS;
  while (!tryLock(lock)) {
    if (performance.now() > deadlineMs) {
      throw new StoreUnavailableError(
        'The chunk folder stayed locked by another process; what was to be written is not.',
      );
    }
    signal.throwIfAborted();
    await sleep(LOOK_AGAIN_MS * (1 + Math.random()));
  }
}

function tryLock(lock: DatabaseSync): boolean {
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return false;
    throw error;
  }
}
