/** Files that must survive a crash: written beside, fsynced, renamed, and the folder fsynced. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Creates the file with mode 0600 and replaces an older one atomically; on failure nothing changed. */
export async function writeDurably(path: string, content: string): Promise<void> {
  const draft = join(dirname(path), `.tmp-${randomBytes(6).toString('hex')}`);
  try {
    await writeAndSync(draft, content);
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
  await syncFolder(dirname(path));
}

/** Undefined: there is no such file. Whatever else keeps it from being read is thrown. */
export async function readIfThere(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
}

/** Creates the folder (0700) with all its files or not at all; false when it already exists. */
export async function createFolderDurably(
  folder: string,
  files: Readonly<Record<string, string>>,
): Promise<boolean> {
  const parent = dirname(folder);
  await mkdir(parent, { recursive: true });
  const draft = join(parent, `.tmp-${randomBytes(6).toString('hex')}`);
  await mkdir(draft, { mode: 0o700 });
  try {
    for (const [name, content] of Object.entries(files)) {
      await writeAndSync(join(draft, name), content);
    }
    await syncFolder(draft);
    await rename(draft, folder);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    if (isTaken(error)) return false;
    throw error;
  }
  await syncFolder(parent);
  return true;
}

async function writeAndSync(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** What was linked, renamed or removed in the folder is on disk when this resolves. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isTaken(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOTEMPTY' || code === 'EEXIST';
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
