/** Uploads in parts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html */
import { createHash } from 'node:crypto';
import { StoreUnavailableError } from './chunk-errors.ts';
import type { S3Requests } from './s3-requests.ts';

const MIB = 1024 * 1024;
/** A pack goes in one request; what is larger goes in parts. */
export const MULTIPART_ABOVE_BYTES = 16 * MIB;
/** With S3's limit of 10,000 parts that allows more than any manifest or image has. */
const PART_BYTES = 16 * MIB;
const ABORT_LIMIT_MS = 10_000;

export interface Target {
  readonly Bucket: string;
  readonly Key: string;
}

export interface Conditions {
  readonly IfMatch?: string;
  readonly IfNoneMatch?: string;
}

interface Upload {
  readonly requests: S3Requests;
  readonly target: Target;
  readonly signal: AbortSignal;
}

interface Part {
  readonly PartNumber: number;
  readonly ETag: string;
}

/**
 * The condition is judged when the parts are joined. On failure the parts are removed; where even that
 * fails, the bucket's lifecycle rule for incomplete uploads has to do it.
 */
export async function putInParts(
  upload: Upload,
  body: Buffer,
  conditions: Conditions,
): Promise<{ readonly etag: string }> {
  const uploadId = await begin(upload);
  const stop = new AbortController();
  const signal = AbortSignal.any([upload.signal, stop.signal]);
  const sends = splitParts(body).map((part, index) =>
    sendPart({ ...upload, signal }, { part, number: index + 1, uploadId }),
  );
  try {
    const parts = await Promise.all(sends);
    return await join(upload, { uploadId, parts, conditions });
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(sends);
    await giveUp(upload, uploadId);
    throw error;
  }
}

function splitParts(body: Buffer): Buffer[] {
  const count = Math.ceil(body.length / PART_BYTES);
  return Array.from({ length: count }, (_, index) =>
    body.subarray(index * PART_BYTES, (index + 1) * PART_BYTES),
  );
}

async function begin({ requests, target, signal }: Upload): Promise<string> {
  const request = { what: 'begin a large object', key: target.Key, kind: 'puts', signal } as const;
  const { UploadId } = await requests.run(request, ({ sdk, client, signal: abortSignal }) =>
    client.send(new sdk.CreateMultipartUploadCommand(target), { abortSignal }),
  );
  if (UploadId === undefined) throw new StoreUnavailableError('The object store began no upload.');
  return UploadId;
}

async function sendPart(
  { requests, target, signal }: Upload,
  { part, number, uploadId }: { part: Buffer; number: number; uploadId: string },
): Promise<Part> {
  const ContentMD5 = createHash('md5').update(part).digest('base64');
  const input = { ...target, Body: part, ContentMD5, PartNumber: number, UploadId: uploadId };
  const bytes = part.length;
  const request = { what: 'send a part', key: target.Key, kind: 'puts', signal, bytes } as const;
  const { ETag } = await requests.run(request, ({ sdk, client, signal: abortSignal }) => {
    requests.usage.add('bytesUp', bytes);
    return client.send(new sdk.UploadPartCommand(input), { abortSignal });
  });
  return { PartNumber: number, ETag: ETag ?? '' };
}

async function join(
  { requests, target, signal }: Upload,
  given: { uploadId: string; parts: Part[]; conditions: Conditions },
): Promise<{ readonly etag: string }> {
  const { uploadId: UploadId, parts: Parts, conditions } = given;
  const input = { ...target, ...conditions, UploadId, MultipartUpload: { Parts } };
  const request = { what: 'join a large object', key: target.Key, kind: 'puts', signal } as const;
  const { ETag } = await requests.run(request, ({ sdk, client, signal: abortSignal }) =>
    client.send(new sdk.CompleteMultipartUploadCommand(input), { abortSignal }),
  );
  return { etag: ETag ?? '' };
}

/** Also when the caller's signal has ended: it has a limit of its own. */
async function giveUp({ requests, target }: Upload, uploadId: string): Promise<void> {
  const signal = AbortSignal.timeout(ABORT_LIMIT_MS);
  const request = {
    what: 'drop a large object',
    key: target.Key,
    kind: 'removes',
    signal,
  } as const;
  const input = { ...target, UploadId: uploadId };
  const drop = requests.run(request, ({ sdk, client, signal: abortSignal }) =>
    client.send(new sdk.AbortMultipartUploadCommand(input), { abortSignal }),
  );
  await drop.catch(() => undefined);
}
