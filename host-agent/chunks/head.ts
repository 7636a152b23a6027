/** A VM's head: the one object that says which manifest is the newest. It moves by conditional put. */
import { z } from 'zod';
import { VmId } from '../protocol/ids.ts';
import { ManifestDamagedError, ObjectMissingError } from './chunk-errors.ts';
import {
  MANIFEST_PREFIX_BYTES,
  type ManifestHeader,
  type Point,
  readManifestHeader,
} from './manifest.ts';
import type { Cancellable, ObjectBackend } from './object-backend.ts';
import { headKey, manifestKey, parseManifestName } from './store-keys.ts';

/** Most headers are shorter: one request reads them. */
const HEADER_GUESS_BYTES = 64 * 1024;
/** The head moves on, and its predecessor may be collected, between two reads of ours. */
const FOLLOW_LIMIT = 5;

const HeadFile = z.object({
  format: z.literal(1),
  vmId: VmId,
  manifest: z.string().refine((name) => parseManifestName(name) !== undefined),
  /** Makes it another object than before, and nothing else. */
  fence: z.string().max(64).optional(),
});

export interface Head extends Point {
  /** The manifest's name within the VM's folder. */
  readonly manifest: string;
  readonly etag: string;
}

export function encodeHead(vmId: VmId, manifest: string, fence?: string): Buffer {
  return Buffer.from(JSON.stringify({ format: 1, vmId, manifest, fence }));
}

/** Undefined when nothing was published yet; throws ManifestDamagedError for what is no head. */
export async function fetchHead(
  backend: ObjectBackend,
  vmId: VmId,
  { signal }: Cancellable,
): Promise<Head | undefined> {
  const found = await orMissing(backend.get(headKey(vmId), { signal }));
  if (found === undefined) return undefined;
  const head = parseHead(found.body);
  const point = head && parseManifestName(head.manifest);
  if (head === undefined || point === undefined || head.vmId !== vmId) {
    throw new ManifestDamagedError(
      "A VM's head in the store is damaged; the VM cannot start from it.",
      {
        context: { vmId },
      },
    );
  }
  return { ...point, manifest: head.manifest, etag: found.etag };
}

/**
 * What `read` makes of the head's manifest, following the head when it moves on meanwhile. Throws
 * ManifestDamagedError when the head stays and its manifest is not there.
 */
export async function followHead<T>(
  given: { readonly backend: ObjectBackend; readonly vmId: VmId } & Cancellable,
  read: (head: Head) => Promise<T>,
): Promise<{ readonly head: Head; readonly value: T } | undefined> {
  const { backend, vmId, signal } = given;
  let missing: string | undefined;
  for (let look = 0; look < FOLLOW_LIMIT; look += 1) {
    const head = await fetchHead(backend, vmId, { signal });
    if (head === undefined) return undefined;
    if (head.manifest === missing) break;
    const value = await orMissing(read(head));
    if (value !== undefined) return { head, value };
    missing = head.manifest;
  }
  throw new ManifestDamagedError("A VM's newest manifest is not in the store.", {
    context: { vmId, manifest: missing },
  });
}

/** The clear part of the head's manifest: needs no key, and is not authenticated. */
export async function readHeadHeader(
  backend: ObjectBackend,
  vmId: VmId,
  { signal }: Cancellable,
): Promise<{ readonly head: Head; readonly header: ManifestHeader } | undefined> {
  const found = await followHead({ backend, vmId, signal }, ({ manifest }) =>
    fetchHeader(backend, manifestKey(vmId, manifest), { signal }),
  );
  return found && { head: found.head, header: found.value };
}

/** Of any manifest; throws ObjectMissingError, ManifestDamagedError. */
export async function fetchHeader(
  backend: ObjectBackend,
  key: string,
  { signal }: Cancellable,
): Promise<ManifestHeader> {
  const get = (length: number) => backend.get(key, { signal, range: { offset: 0, length } });
  const first = await get(HEADER_GUESS_BYTES);
  const read = readManifestHeader(first.body);
  if ('header' in read) return read.header;
  const again = await get(Math.max(read.neededBytes, MANIFEST_PREFIX_BYTES));
  const whole = readManifestHeader(again.body);
  if ('header' in whole) return whole.header;
  throw new ManifestDamagedError("A VM's manifest is cut short in the store.", {
    context: { key },
  });
}

function parseHead(body: Buffer): z.infer<typeof HeadFile> | undefined {
  try {
    return HeadFile.parse(JSON.parse(body.toString()));
  } catch {
    return undefined;
  }
}

async function orMissing<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (error instanceof ObjectMissingError) return undefined;
    throw error;
  }
}
