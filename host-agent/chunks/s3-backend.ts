/**
 * Objects in a bucket of anything that speaks S3. The SDK is loaded when the first such store is
 * opened: whoever keeps chunks in a folder does not pay for it.
 */
import { createHash } from 'node:crypto';
import type { S3StoreSpec } from '../protocol/store-spec.ts';
import {
  ConditionFailedError,
  ObjectMissingError,
  StoreRefusedError,
  StoreUnavailableError,
} from './chunk-errors.ts';
import { probeConditionalPut } from './conditional-put-probe.ts';
import { MAX_MANIFEST_BYTES } from './manifest.ts';
import type {
  ByteRange,
  Cancellable,
  GetOptions,
  ListedObject,
  ObjectBackend,
  PutCondition,
  PutOptions,
  StoredObject,
  StoreUsage,
} from './object-backend.ts';
import { checkKey, checkPrefix } from './object-key.ts';
import { MULTIPART_ABOVE_BYTES, putInParts } from './s3-multipart.ts';
import { readBody, S3_LIMITS, type S3Limits, S3Requests } from './s3-requests.ts';

/** S3's limits of DeleteObjects and ListObjectsV2. */
const KEYS_PER_REQUEST = 1000;
/** The body of a pack at the slowest rate: what a get of unknown size may take. */
const TYPICAL_BYTES = 16 * 1024 * 1024;
const RANGE_NOT_SATISFIABLE = 416;

/** Contacts nothing yet. */
export async function openS3Backend(
  spec: S3StoreSpec,
  limits: Partial<S3Limits> = {},
): Promise<ObjectBackend> {
  const sdk = await import('@aws-sdk/client-s3');
  return new S3Backend(spec, new S3Requests(sdk, spec, { ...S3_LIMITS, ...limits }));
}

class S3Backend implements ObjectBackend {
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #requests: S3Requests;

  constructor(spec: S3StoreSpec, requests: S3Requests) {
    this.#bucket = spec.bucket;
    this.#prefix = spec.prefix;
    this.#requests = requests;
  }

  get usage(): StoreUsage {
    return this.#requests.usage.read();
  }

  async put(key: string, body: Buffer, options: PutOptions): Promise<{ readonly etag: string }> {
    try {
      return await this.#put(key, body, options);
    } catch (error) {
      if (options.condition === undefined || !(error instanceof ObjectMissingError)) throw error;
      throw new ConditionFailedError('The object is not in the store any more.', {
        context: error.context,
      });
    }
  }

  async #put(key: string, body: Buffer, { signal, condition }: PutOptions) {
    const target = this.#target(key);
    const conditions = conditionHeaders(condition);
    if (body.length > MULTIPART_ABOVE_BYTES) {
      return putInParts({ requests: this.#requests, target, signal }, body, conditions);
    }
    const ContentMD5 = createHash('md5').update(body).digest('base64');
    const input = { ...target, ...conditions, Body: body, ContentMD5 };
    const request = {
      what: 'put an object',
      key,
      kind: 'puts',
      signal,
      bytes: body.length,
    } as const;
    const { ETag } = await this.#requests.run(request, ({ sdk, client, signal: abortSignal }) => {
      this.#requests.usage.add('bytesUp', body.length);
      return client.send(new sdk.PutObjectCommand(input), { abortSignal });
    });
    if (ETag === undefined) throw new StoreUnavailableError('The object store gave no ETag.');
    return { etag: ETag };
  }

  async get(key: string, { signal, range }: GetOptions): Promise<StoredObject> {
    const input = { ...this.#target(key), ...rangeHeader(range) };
    const maxBytes = range?.length ?? MAX_MANIFEST_BYTES;
    const bytes = range?.length ?? TYPICAL_BYTES;
    const request = { what: 'get an object', key, kind: 'gets', signal, bytes } as const;
    if (range?.length === 0) return { body: Buffer.alloc(0), etag: '' };
    try {
      return await this.#requests.run(request, async ({ sdk, client, signal: abortSignal }) => {
        const answer = await client.send(new sdk.GetObjectCommand(input), { abortSignal });
        const body = await readBody(answer.Body, { maxBytes, signal: abortSignal });
        this.#requests.usage.add('bytesDown', body.length);
        return { body, etag: answer.ETag ?? '' };
      });
    } catch (error) {
      if (!isBeyondEnd(error)) throw error;
      return { body: Buffer.alloc(0), etag: '' };
    }
  }

  async *list(prefix: string, { signal }: Cancellable): AsyncGenerator<ListedObject> {
    const Prefix = this.#prefix + checkPrefix(prefix);
    let ContinuationToken: string | undefined;
    do {
      const page = { Bucket: this.#bucket, Prefix, MaxKeys: KEYS_PER_REQUEST, ContinuationToken };
      const request = { what: 'list objects', key: prefix, kind: 'lists', signal } as const;
      const answer = await this.#requests.run(request, ({ sdk, client, signal: abortSignal }) =>
        client.send(new sdk.ListObjectsV2Command(page), { abortSignal }),
      );
      for (const { Key, Size, LastModified } of answer.Contents ?? []) {
        if (Key === undefined || LastModified === undefined) continue;
        const key = Key.slice(this.#prefix.length);
        yield { key, sizeBytes: Size ?? 0, modifiedAtMs: LastModified.getTime() };
      }
      ContinuationToken = answer.IsTruncated ? answer.NextContinuationToken : undefined;
    } while (ContinuationToken !== undefined);
  }

  async remove(keys: readonly string[], { signal }: Cancellable): Promise<void> {
    const all = keys.map((key) => ({ Key: this.#target(key).Key }));
    for (let at = 0; at < all.length; at += KEYS_PER_REQUEST) {
      const Objects = all.slice(at, at + KEYS_PER_REQUEST);
      const input = { Bucket: this.#bucket, Delete: { Objects, Quiet: true } };
      const key = keys[at] ?? '';
      const request = { what: 'remove objects', key, kind: 'removes', signal } as const;
      await this.#requests.run(request, async ({ sdk, client, signal: abortSignal }) => {
        const { Errors } = await client.send(new sdk.DeleteObjectsCommand(input), { abortSignal });
        const failed = Errors?.length ?? 0;
        if (failed > 0) {
          throw new StoreUnavailableError(`The object store did not remove ${failed} objects.`);
        }
      });
    }
  }

  async checkConditionalPut(signal: AbortSignal): Promise<void> {
    await probeConditionalPut(this, signal);
  }

  close(): void {
    this.#requests.close();
  }

  #target(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + checkKey(key) };
  }
}

/** RFC 9110, 13.1: what must be there, or that nothing may be there. */
function conditionHeaders(condition: PutCondition | undefined) {
  if (condition === undefined) return {};
  return condition.kind === 'absent' ? { IfNoneMatch: '*' } : { IfMatch: condition.etag };
}

/** RFC 9110, 14.1.2: the last byte is included. */
function rangeHeader(range: ByteRange | undefined): { readonly Range?: string } {
  if (range === undefined) return {};
  return { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` };
}

function isBeyondEnd(error: unknown): boolean {
  return error instanceof StoreRefusedError && error.context.status === RANGE_NOT_SATISFIABLE;
}
