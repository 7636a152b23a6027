/** One NBD request on a disk's image. */
import { CLUSTER_BYTES, clustersIn } from './cluster.ts';
import type { DiskImage } from './disk-image.ts';
import {
  COMMAND,
  ERROR,
  encodeReply,
  MAX_PAYLOAD_BYTES,
  type NbdErrorNumber,
  type NbdRequest,
} from './nbd-format.ts';

interface Run {
  readonly cluster: number;
  readonly count: number;
}

/**
 * Gives the reply. What is not in whole clusters of the disk, or asks for content that only the
 * template has, is refused in it. Rejects with DiskImageError when the image is broken; the reply
 * for that is `failedReply`.
 */
export async function executeRequest(image: DiskImage, request: NbdRequest): Promise<Buffer> {
  const { command, cookie } = request;
  // Nothing here survives its host, so there is nothing to sync (disk-image.ts).
  if (command === COMMAND.flush) return encodeReply(cookie, ERROR.none);
  const run = findRun(image, request);
  if (run === undefined) return encodeReply(cookie, ERROR.invalid);
  switch (command) {
    case COMMAND.write:
      await image.write(run.cluster, request.payload);
      return encodeReply(cookie, ERROR.none);
    case COMMAND.zero:
    // What a guest discards has to be something: its template's content again would be wrong.
    case COMMAND.trim:
      image.zero(run.cluster, run.count);
      return encodeReply(cookie, ERROR.none);
    case COMMAND.read:
      return readReply(image, request, run);
    default:
      return encodeReply(cookie, ERROR.invalid);
  }
}

/** To a request on which the image failed. */
export function failedReply({ cookie }: NbdRequest, error: NbdErrorNumber = ERROR.io): Buffer {
  return encodeReply(cookie, error);
}

function findRun(image: DiskImage, { offset, length }: NbdRequest): Run | undefined {
  if (offset % BigInt(CLUSTER_BYTES) !== 0n || offset >= BigInt(image.sizeBytes)) return undefined;
  const cluster = Number(offset / BigInt(CLUSTER_BYTES));
  try {
    return { cluster, count: clustersIn(image.sizeBytes, { cluster, length }) };
  } catch {
    return undefined;
  }
}

async function readReply(image: DiskImage, request: NbdRequest, run: Run): Promise<Buffer> {
  const { cookie, length } = request;
  const isHere = (_: unknown, at: number) => image.stateOf(run.cluster + at) !== 'base';
  const isReadable = length <= MAX_PAYLOAD_BYTES && Array.from({ length: run.count }).every(isHere);
  if (!isReadable) return encodeReply(cookie, ERROR.invalid);
  const content = await image.read(run.cluster, run.count);
  return Buffer.concat([encodeReply(cookie, ERROR.none), content]);
}
