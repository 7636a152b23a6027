/**
 * A root folder as an ext4 image, the same bytes for the same tree. The guest's own mke2fs makes
 * it (Debian 13's, 1.47.2, honours SOURCE_DATE_EPOCH; Debian 12's does not), run on this machine
 * by the guest's own loader and libraries.
 */
import { join } from 'node:path';
import { execa } from 'execa';
import { SOURCE_DATE_EPOCH } from './profiles.ts';

const MKE2FS_TIMEOUT_MS = 10 * 60_000;
const BLOCK_BYTES = 4096;
const MIB = 1024 * 1024;

/** Fixed, since a random one would be in the image; nothing tells file systems apart by it. */
const FILE_SYSTEM_UUID = 'a6c1c5d2-7d0c-4b5e-9a53-2f1f6b0d7a11';
const HASH_SEED = '5b1a4a0e-4a3f-4f6b-8f0a-0d9b7f6f2c33';

/**
 * How large the file system is made: its content, inodes and journal, and a GiB to start in. A
 * VM's disk is grown to its class at its start, so the base stays small.
 */
export function planImageBytes(contentBytes: number): number {
  const wanted = contentBytes * 1.15 + 1024 * MIB;
  return Math.ceil(wanted / (64 * MIB)) * 64 * MIB;
}

/** Writes `imagePath`, sparse. Needs root (the tree's owners and modes are kept). */
export async function makeFileSystem(options: {
  readonly root: string;
  readonly imagePath: string;
  readonly signal: AbortSignal;
  /** The root that mke2fs itself is taken from; the tree itself unless told. */
  readonly toolRoot?: string;
}): Promise<void> {
  const { root, imagePath, signal, toolRoot = root } = options;
  const sizeBytes = planImageBytes(await contentBytes(root, signal));
  await execa(
    join(toolRoot, 'lib64/ld-linux-x86-64.so.2'),
    [
      '--library-path',
      join(toolRoot, 'usr/lib/x86_64-linux-gnu'),
      join(toolRoot, 'usr/sbin/mke2fs'),
      ...['-q', '-F', '-t', 'ext4', '-b', String(BLOCK_BYTES)],
      ...['-U', FILE_SYSTEM_UUID, '-m', '0', '-L', 'architect'],
      // Tables are written now, as holes: the guest must not zero them in every clone's overlay.
      ...['-E', `hash_seed=${HASH_SEED},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0`],
      ...['-d', root, imagePath, String(sizeBytes / BLOCK_BYTES)],
    ],
    {
      env: {
        SOURCE_DATE_EPOCH: String(SOURCE_DATE_EPOCH),
        // The machine's own file has the defaults of its own version.
        MKE2FS_CONFIG: join(toolRoot, 'etc/mke2fs.conf'),
        TZ: 'UTC',
      },
      cancelSignal: signal,
      timeout: MKE2FS_TIMEOUT_MS,
    },
  );
}

async function contentBytes(root: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await execa(
    'du',
    ['--summarize', '--one-file-system', '--apparent-size', '--block-size=4096', root],
    { cancelSignal: signal, timeout: MKE2FS_TIMEOUT_MS },
  );
  return Number.parseInt(stdout, 10) * BLOCK_BYTES;
}
