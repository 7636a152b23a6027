/** The master key that VMs' keys are wrapped with: one file (0600) in the data folder, made once. */
import { randomBytes } from 'node:crypto';
import { link, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { readIfThere, syncFolder, writeDurably } from '../durable-file.ts';

export const MASTER_KEY_FILE = 'master.key';
export const KEY_BYTES = 32;

export class MasterKeyError extends ArchitectError {
  readonly code = 'MASTER_KEY';
  readonly retry = 'never';
}

/**
 * Reads the key, making it first where there is none; of two makers one wins, for both. It is on
 * disk when this resolves. Throws MasterKeyError for a file that holds no key: a new one would make
 * every checkpoint and parked VM unreadable, so none is made then.
 */
export async function openMasterKey(dataDir: string): Promise<Buffer> {
  const path = join(dataDir, MASTER_KEY_FILE);
  const known = await readKey(path);
  if (known !== undefined) return known;
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeDurably(draft, `${randomBytes(KEY_BYTES).toString('base64')}\n`);
    await link(draft, path).catch(ignoreExisting);
    await syncFolder(dataDir);
  } finally {
    await rm(draft, { force: true });
  }
  const made = await readKey(path);
  if (made === undefined) throw new MasterKeyError(`${path} vanished right after it was made.`);
  return made;
}

async function readKey(path: string): Promise<Buffer | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length === KEY_BYTES) return key;
  throw new MasterKeyError(`${path} holds no key of ${KEY_BYTES} bytes. Restore it from a backup.`);
}

function ignoreExisting(error: unknown): void {
  if (codeOf(error) !== 'EEXIST') throw error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
