/**
 * The pool that this machine can host: one accelerator, one CPU model, one image, and the template
 * captured from it. Its description is what the control plane reads:
 *
 *   <store>/pools/<profile>-<arch>-<accelerator>-<cpuModel>.json      a PoolSpec
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { pino } from 'pino';
import {
  createStagingFolder,
  openArtifact,
  publishArtifact,
} from '../host-agent/artifacts/artifact-store.ts';
import { parseCpuinfo } from '../host-agent/inventory/parse-cpuinfo.ts';
import type { ImageArtifact, MachineShape } from '../host-agent/protocol/artifact.ts';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import { type Accelerator, PoolSpec } from '../host-agent/protocol/host-facts.ts';
import type { Digest } from '../host-agent/protocol/ids.ts';
import { probeAccelerator } from '../host-agent/vm/accelerator.ts';
import { captureTemplate } from '../host-agent/vm/template-capture.ts';
import { templateShape } from '../host-agent/vm/template-shape.ts';
import type { Profile } from './profiles.ts';

export interface PoolRequest {
  readonly storeDir: string;
  readonly profile: Profile;
  readonly image: Digest;
  readonly cpuModel: string;
  /** Capture a template even if a fitting one is here. */
  readonly fresh: boolean;
  readonly progress: (what: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Ensures the pool's template and its description. Capturing needs root and boots the guest once.
 * On failure the description is as before.
 */
export async function ensurePool(request: PoolRequest): Promise<PoolSpec> {
  const { storeDir, profile, image, cpuModel } = request;
  const { accelerator } = await probeAccelerator();
  const name = `${profile}-x64-${accelerator}-${cpuModel}`;
  const path = join(storeDir, 'pools', `${name}.json`);
  const shape = templateShape({ accelerator, cpuModel });
  const recipe = await readRecipe();
  const known = await readPool(path);
  if (
    !request.fresh &&
    known?.image === image &&
    (await fits(storeDir, known, { shape, recipe }))
  ) {
    return known;
  }
  const template = await capture(request, { shape, recipe });
  const pool = PoolSpec.parse({
    id: name.toLowerCase().replace(/[^a-z0-9-]/g, '-'),
    arch: 'x64',
    accelerator,
    cpuVendor: await cpuVendor(accelerator),
    cpuModel,
    machineType: shape.machineType,
    image,
    template,
  });
  await mkdir(join(storeDir, 'pools'), { recursive: true });
  await writeFile(`${path}.new`, `${JSON.stringify(pool, null, 1)}\n`);
  await rename(`${path}.new`, path);
  return pool;
}

async function readPool(path: string): Promise<PoolSpec | undefined> {
  try {
    return PoolSpec.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** What besides the image makes one template differ from another. */
interface Making {
  readonly shape: MachineShape;
  readonly recipe: string;
}

const CAPTURE_CODE = ['template-capture.ts', 'template-shape.ts', 'qemu-arguments.ts'];

async function readRecipe(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of CAPTURE_CODE)
    hash.update(await readFile(join(import.meta.dirname, '../host-agent/vm', name)));
  return hash.digest('hex');
}

async function fits(storeDir: string, pool: PoolSpec, making: Making): Promise<boolean> {
  try {
    const { artifact } = await openArtifact(storeDir, pool.template);
    if (artifact.kind !== 'template') return false;
    return isDeepStrictEqual({ shape: artifact.shape, recipe: artifact.recipe }, making);
  } catch (error) {
    if (error instanceof ArchitectError) return false;
    throw error;
  }
}

async function capture(request: PoolRequest, { shape, recipe }: Making): Promise<Digest> {
  const { storeDir, image, progress, signal } = request;
  const opened = await openImage(storeDir, image);
  const stagingDir = await createStagingFolder(storeDir);
  try {
    progress('capturing the template: the guest boots once');
    const { qemuVersion } = await captureTemplate({
      imageDir: opened.dir,
      imageDigest: image,
      image: opened.artifact,
      shape,
      outDir: stagingDir,
      logger: pino({ level: 'warn' }, pino.destination(2)),
      signal,
      onProgress: progress,
    });
    const description = { kind: 'template', image, shape, qemuVersion, recipe } as const;
    return await publishArtifact({ storeDir, stagingDir, description, signal });
  } finally {
    await rm(stagingDir, { recursive: true, force: true });
  }
}

async function openImage(
  storeDir: string,
  digest: Digest,
): Promise<{ readonly dir: string; readonly artifact: ImageArtifact }> {
  const { dir, artifact } = await openArtifact(storeDir, digest);
  if (artifact.kind !== 'image') throw new Error(`${digest} is no image`);
  return { dir, artifact };
}

/** Emulated processors are the same everywhere; real ones only within a vendor. */
async function cpuVendor(accelerator: Accelerator): Promise<string | null> {
  if (accelerator === 'tcg') return null;
  return parseCpuinfo(await readFile('/proc/cpuinfo', 'utf8')).vendor;
}
