/**
 * Images and templates: built once, named by their content, fetched by hosts, never changed.
 *
 * An artifact is a folder `sha256-<hex>` in an artifact store. Its digest is the SHA-256 of the
 * bytes of its `artifact.json`, which lists every file with size and SHA-256, so the digest covers
 * all of it. On the wire a file travels zstd-compressed; hashes are those of the plain bytes.
 *
 *   image     disk.raw (ext4, read-only base), vmlinuz, initrd
 *   template  memory (sparse, the size of the smallest VM), device-state, disk-delta.qcow2 (what the
 *             template's boot wrote, on top of the image's disk: clones' overlays stand on it)
 */
import { z } from 'zod';
import { Accelerator } from './host-facts.ts';
import { Digest } from './ids.ts';

const ArtifactFile = z.object({
  name: z.string().regex(/^[a-z][a-z0-9.-]{0,63}$/),
  sizeBytes: z.int().min(0),
  /** SHA-256, hexadecimal, of the plain bytes, holes read as zeros. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type ArtifactFile = Readonly<z.infer<typeof ArtifactFile>>;

export const ImageArtifact = z.object({
  kind: z.literal('image'),
  profile: z.enum(['small', 'full']),
  arch: z.enum(['x64', 'arm64']),
  guestKernel: z.string().max(128),
  /** What the kernel is told besides `root=`; part of the image because the image depends on it. */
  kernelArguments: z.string().max(1000),
  files: z.array(ArtifactFile).min(1).max(10),
});
export type ImageArtifact = Readonly<z.infer<typeof ImageArtifact>>;

/** The one machine shape that a template's device state fits (FACTS: no other loads). */
export const MachineShape = z.object({
  machineType: z.string().max(64),
  accelerator: Accelerator,
  cpuModel: z.string().max(64),
  vcpus: z.int().min(1),
  maxVcpus: z.int().min(1),
  /**
   * Where the CPUs beyond `vcpus` come from (default: hot-plug). `offline`: they are there from the start and switched
   * on in the guest, because Linux takes no CPU by hot-plug where it sees no hypervisor (TCG).
   */
  cpuGrowth: z.enum(['hot-plug', 'offline']).optional(),
  memoryMib: z.int().min(128),
  maxMemoryMib: z.int().min(128),
  memorySlots: z.int().min(0).max(256),
});
export type MachineShape = Readonly<z.infer<typeof MachineShape>>;

export const TemplateArtifact = z.object({
  kind: z.literal('template'),
  image: Digest,
  shape: MachineShape,
  qemuVersion: z.string().max(64),
  /** SHA-256 of the code that captured it, hexadecimal: other code would capture another. */
  recipe: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  files: z.array(ArtifactFile).min(1).max(10),
});
export type TemplateArtifact = Readonly<z.infer<typeof TemplateArtifact>>;

export const Artifact = z.discriminatedUnion('kind', [ImageArtifact, TemplateArtifact]);
export type Artifact = Readonly<z.infer<typeof Artifact>>;

/** The folder's name in a store: a digest without the colon, which some tools trip over. */
export function artifactFolder(digest: Digest): string {
  return digest.replace(':', '-');
}
