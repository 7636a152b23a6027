/**
 * Objects as files in a folder (0700), for one machine or a shared file system with POSIX locks.
 *
 *   <root>/.lock          held while names change: conditions hold between processes
 *   <root>/.incoming/     files being written; a crash leaves them, the next open removes old ones
 *   <root>/<key>          16 random bytes, the object's version, then its body (0600)
 *
 * The version is the etag: time stamps are too coarse to tell two quick writes apart.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Dirent } from 'node:fs';
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from '../journal/durable-file.ts';
import { ArchitectError } from '../protocol/errors.ts';
import { ConditionFailedError, ObjectMissingError, StoreUnavailableError } from './chunk-errors.ts';
import { probeConditionalPut } from './conditional-put-probe.ts';
import { withFolderLock } from './folder-lock.ts';
import type {
  Cancellable,
  GetOptions,
  ListedObject,
  ObjectBackend,
  PutCondition,
  PutOptions,
  StoredObject,
  StoreUsage,
} from './object-backend.ts';
import { checkKey, checkPrefix } from './object-key.ts';
import { UsageCounter } from './usage-counter.ts';

const VERSION_BYTES = 16;
/** Longer than any write takes. */
const STALE_INCOMING_MS = 60 * 60_000;
const ABSENT: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR']);
const NOT_EMPTY: ReadonlySet<unknown> = new Set(['ENOTEMPTY', 'EEXIST', 'ENOENT']);

/** Makes the folder where it is missing. Throws StoreUnavailableError when that cannot be done. */
export async function openFolderBackend(root: string): Promise<ObjectBackend> {
  const incoming = join(root, '.incoming');
  await guarded('open', async () => {
    await mkdir(incoming, { recursive: true, mode: 0o700 });
    for (const name of await readdir(incoming)) {
      const path = join(incoming, name);
      const seen = await orAbsent(() => stat(path));
      if (seen && Date.now() - seen.mtimeMs > STALE_INCOMING_MS) await rm(path, { force: true });
    }
  });
  return new FolderBackend(root);
}

class FolderBackend implements ObjectBackend {
  readonly #root: string;
  readonly #usage = new UsageCounter();

  constructor(root: string) {
    this.#root = root;
  }

  get usage(): StoreUsage {
    return this.#usage.read();
  }

  async put(key: string, body: Buffer, { signal, condition }: PutOptions) {
    const path = this.#pathOf(key);
    signal.throwIfAborted();
    this.#usage.add('puts');
    this.#usage.add('bytesUp', body.length);
    const version = randomBytes(VERSION_BYTES);
    const temporary = join(this.#root, '.incoming', randomUUID());
    await guarded('put', async () => {
      try {
        await writeSynced(temporary, [version, body]);
        await this.#locked(signal, async () => {
          if (condition !== undefined) await checkCondition(path, condition);
          await this.#makeFolder(dirname(path));
          await rename(temporary, path);
          await syncFolder(dirname(path));
        });
      } finally {
        await rm(temporary, { force: true });
      }
    });
    return { etag: version.toString('hex') };
  }

  async get(key: string, { signal, range }: GetOptions): Promise<StoredObject> {
    const path = this.#pathOf(key);
    signal.throwIfAborted();
    this.#usage.add('gets');
    const found = await guarded('get', () =>
      orAbsent(async () => {
        await using file = await open(path, 'r');
        const { size } = await file.stat();
        const bodyBytes = Math.max(0, size - VERSION_BYTES);
        const offset = Math.min(range?.offset ?? 0, bodyBytes);
        const length = Math.min(range?.length ?? bodyBytes, bodyBytes - offset);
        const version = await readAt(file, 0, VERSION_BYTES);
        const body = await readAt(file, VERSION_BYTES + offset, length);
        return { body, etag: version.toString('hex') };
      }),
    );
    signal.throwIfAborted();
    if (found === undefined) throw missing(key);
    this.#usage.add('bytesDown', found.body.length);
    return found;
  }

  async *list(prefix: string, { signal }: Cancellable): AsyncGenerator<ListedObject> {
    this.#usage.add('lists');
    const folder = checkPrefix(prefix).slice(0, prefix.lastIndexOf('/') + 1);
    yield* this.#walk(folder, prefix, signal);
  }

  async remove(keys: readonly string[], { signal }: Cancellable): Promise<void> {
    if (keys.length === 0) return;
    const paths = keys.map((key) => this.#pathOf(key));
    this.#usage.add('removes');
    await guarded('remove', () =>
      this.#locked(signal, async () => {
        for (const path of paths) {
          signal.throwIfAborted();
          await orAbsent(() => unlink(path));
        }
        for (const folder of new Set(paths.map(dirname))) await this.#removeEmpty(folder);
      }),
    );
  }

  async checkConditionalPut(signal: AbortSignal): Promise<void> {
    await probeConditionalPut(this, signal);
  }

  close(): void {}

  #pathOf(key: string): string {
    return join(this.#root, checkKey(key));
  }

  #locked<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    return withFolderLock(join(this.#root, '.lock'), signal, task);
  }

  async #makeFolder(folder: string): Promise<void> {
    const first = await mkdir(folder, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    for (let at = folder; at.length >= first.length; at = dirname(at))
      await syncFolder(dirname(at));
  }

  async #removeEmpty(folder: string): Promise<void> {
    for (let at = folder; at.length > this.#root.length; at = dirname(at)) {
      if (!(await tryRemoveFolder(at))) return;
    }
  }

  async *#walk(folder: string, prefix: string, signal: AbortSignal): AsyncGenerator<ListedObject> {
    signal.throwIfAborted();
    const path = join(this.#root, folder);
    const entries = await guarded('list', () =>
      orAbsent(() => readdir(path, { withFileTypes: true })),
    );
    for (const entry of (entries ?? []).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      if (!entry.name.startsWith('.'))
        yield* this.#visit(`${folder}${entry.name}`, entry, prefix, signal);
    }
  }

  async *#visit(
    key: string,
    entry: Dirent,
    prefix: string,
    signal: AbortSignal,
  ): AsyncGenerator<ListedObject> {
    const common = Math.min(key.length, prefix.length);
    if (key.slice(0, common) !== prefix.slice(0, common)) return;
    if (entry.isDirectory()) {
      yield* this.#walk(`${key}/`, prefix, signal);
      return;
    }
    const seen = await guarded('list', () => orAbsent(() => stat(join(this.#root, key))));
    if (seen === undefined || !key.startsWith(prefix)) return;
    yield { key, sizeBytes: seen.size - VERSION_BYTES, modifiedAtMs: Math.floor(seen.mtimeMs) };
  }
}

async function checkCondition(path: string, condition: PutCondition): Promise<void> {
  const version = await orAbsent(async () => {
    await using file = await open(path, 'r');
    return (await readAt(file, 0, VERSION_BYTES)).toString('hex');
  });
  const wanted = condition.kind === 'absent' ? undefined : condition.etag;
  if (version === wanted) return;
  throw new ConditionFailedError(
    'The object in the chunk folder is not the one that was expected.',
  );
}

async function writeSynced(path: string, parts: readonly Buffer[]): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  for (const part of parts) await file.writeFile(part);
  await file.sync();
}

/** Fewer bytes at the file's end. */
async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

async function tryRemoveFolder(path: string): Promise<boolean> {
  try {
    await rmdir(path);
    return true;
  } catch (error) {
    if (NOT_EMPTY.has(codeOf(error))) return false;
    throw error;
  }
}

async function orAbsent<T>(task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    if (ABSENT.has(codeOf(error))) return undefined;
    throw error;
  }
}

/** A full disk, a read-only or unmounted folder: all of that may pass. */
async function guarded<T>(what: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (cause) {
    const code = codeOf(cause);
    if (cause instanceof ArchitectError || typeof code !== 'string' || code === 'ABORT_ERR') {
      throw cause;
    }
    throw new StoreUnavailableError(
      `The chunk folder could not do a ${what} (${code}). Check its disk and its rights.`,
      { cause, context: { what, code } },
    );
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function missing(key: string): ObjectMissingError {
  return new ObjectMissingError('The object is not in the chunk folder.', { context: { key } });
}
