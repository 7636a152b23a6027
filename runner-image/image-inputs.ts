/**
 * Which image belongs to this checkout: a hash over everything that shapes it and can be read
 * without the network. The index maps it to the digest of the image that was built from it, so a
 * second set-up asks neither apt nor a mirror. Debian's newer packages are taken by `--fresh`.
 */
import { createHash, type Hash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import { Digest } from '../host-agent/protocol/ids.ts';
import {
  GUEST_SUITE,
  KERNEL_ARGUMENTS,
  PACKAGES,
  type Profile,
  SOURCE_DATE_EPOCH,
} from './profiles.ts';

/** To be raised when mmdebstrap is told something else for the same packages. */
const BUILD_VERSION = 1;

export const IndexEntry = z.object({
  image: Digest,
  guestKernel: z.string(),
  builtAt: z.iso.datetime(),
  /** `name=version`, as dpkg in the guest lists them. */
  packages: z.array(z.string()),
});
export type IndexEntry = Readonly<z.infer<typeof IndexEntry>>;

/** A short hash of the packages asked for: what a kept package tar is named by. */
export function hashPackages(profile: Profile): string {
  return hashJson([GUEST_SUITE, PACKAGES[profile], SOURCE_DATE_EPOCH, BUILD_VERSION]).slice(0, 16);
}

/** Reads guest files, the runner's identity and Node's; answers 64 hexadecimal digits. */
export async function hashInputs(inputs: {
  readonly profile: Profile;
  /** Folders whose every file is an input. */
  readonly folders: readonly string[];
  /** What says which runner and Node go in. */
  readonly facts: readonly string[];
}): Promise<string> {
  const hash = createHash('sha256');
  hash.update(hashJson([hashPackages(inputs.profile), KERNEL_ARGUMENTS, inputs.facts]));
  for (const folder of inputs.folders) await addFolder(hash, folder);
  return hash.digest('hex');
}

async function addFolder(hash: Hash, folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const path of paths) {
    const bytes = await readFile(path);
    hash.update(JSON.stringify([relative(folder, path), bytes.length]));
    hash.update(bytes);
  }
}

function hashJson(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

/** Undefined when nothing was built from these inputs, or the entry cannot be read. */
export async function readIndex(path: string): Promise<IndexEntry | undefined> {
  try {
    return IndexEntry.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** Replaces the entry atomically. */
export async function writeIndex(path: string, entry: IndexEntry): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, `${JSON.stringify(entry, null, 1)}\n`);
  await rename(`${path}.new`, path);
}
