/** The `small` image that the set-up put into this machine's store. */
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { Artifact, type ImageArtifact } from '../../../host-agent/protocol/artifact.ts';

export interface PreparedImage {
  readonly dir: string;
  readonly artifact: ImageArtifact;
}

/** The newest one; throws when there is none. */
export async function findPreparedImage(): Promise<PreparedImage> {
  const store = join(process.env.ARCHITECT_HOME ?? '/var/lib/architect', 'artifacts');
  const folders = (await readdir(store)).filter((name) => name.startsWith('sha256-'));
  const found = [];
  for (const name of folders) {
    const dir = join(store, name);
    const artifact = Artifact.parse(JSON.parse(await readFile(join(dir, 'artifact.json'), 'utf8')));
    if (artifact.kind !== 'image' || artifact.profile !== 'small') continue;
    found.push({ dir, artifact, madeAtMs: (await stat(dir)).mtimeMs });
  }
  const [newest] = found.sort((a, b) => b.madeAtMs - a.madeAtMs);
  if (newest === undefined) throw new Error('no small image: run `npm run setup` first');
  return newest;
}

/** What debugfs(8) prints for one of its commands on the image's file system. */
export async function inspectImage(image: PreparedImage, command: string): Promise<string> {
  const { stdout } = await execa('debugfs', ['-R', command, join(image.dir, 'disk.raw')]);
  return stdout;
}

/** Copies a file out of the image into a folder of its own; `remove` ends it. */
export async function takeFromImage(image: PreparedImage, path: string) {
  const dir = await mkdtemp(join(tmpdir(), 'from-image-'));
  const file = join(dir, 'file');
  await inspectImage(image, `dump -p ${path} ${file}`);
  return { file, remove: () => rm(dir, { recursive: true, force: true }) };
}
