/**
 * One request to an S3 server, tried again where that can help: bounded in number at a time, in time,
 * and in attempts; counted; its errors translated. The SDK's own retries are off, so that every
 * attempt is counted and jittered here.
 */
import { addAbortSignal, Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
import type { S3StoreSpec } from '../protocol/store-spec.ts';
import { StoreUnavailableError } from './chunk-errors.ts';
import type { StoreUsage } from './object-backend.ts';
import { type RetryLimits, withRetry } from './retry.ts';
import { isUnavailable, translateS3Error } from './s3-errors.ts';
import { Slots } from './slots.ts';
import { UsageCounter } from './usage-counter.ts';

const MIB = 1024 * 1024;

export interface S3Limits extends RetryLimits {
  readonly connectMs: number;
  /** For one attempt, plus what its bytes take at the slowest rate that is worth waiting for. */
  readonly requestMs: number;
  readonly slowestBytesPerSecond: number;
  readonly concurrentRequests: number;
}

export const S3_LIMITS: S3Limits = {
  attempts: 6,
  firstMs: 100,
  longestMs: 5_000,
  connectMs: 3_000,
  requestMs: 10_000,
  slowestBytesPerSecond: MIB,
  concurrentRequests: 16,
};

type Sdk = typeof import('@aws-sdk/client-s3');

export interface S3Attempt {
  readonly sdk: Sdk;
  readonly client: S3Client;
  readonly signal: AbortSignal;
}

export interface S3Request {
  readonly what: string;
  readonly key: string;
  readonly kind: keyof StoreUsage;
  readonly signal: AbortSignal;
  /** Sent, or expected at most, in bytes. */
  readonly bytes?: number;
}

export class S3Requests {
  readonly usage = new UsageCounter();
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #limits: S3Limits;
  readonly #slots: Slots;

  constructor(sdk: Sdk, spec: S3StoreSpec, limits: S3Limits) {
    this.#sdk = sdk;
    this.#client = makeClient(sdk, spec, limits);
    this.#limits = limits;
    this.#slots = new Slots(limits.concurrentRequests);
  }

  run<T>(request: S3Request, task: (attempt: S3Attempt) => Promise<T>): Promise<T> {
    const { signal } = request;
    return withRetry(() => this.#slots.run(signal, () => this.#attempt(request, task)), {
      signal,
      limits: this.#limits,
      worthRetrying: isUnavailable,
    });
  }

  close(): void {
    this.#client.destroy();
  }

  async #attempt<T>(request: S3Request, task: (attempt: S3Attempt) => Promise<T>): Promise<T> {
    const { what, key, kind, bytes = 0 } = request;
    const limitMs = this.#limits.requestMs + (bytes / this.#limits.slowestBytesPerSecond) * 1000;
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(Math.ceil(limitMs))]);
    this.usage.add(kind);
    try {
      return await task({ sdk: this.#sdk, client: this.#client, signal });
    } catch (error) {
      throw translateS3Error(error, { what, key });
    }
  }
}

function makeClient(sdk: Sdk, spec: S3StoreSpec, limits: S3Limits): S3Client {
  const { accessKeyId, secretAccessKey, sessionToken } = spec.credentials ?? {};
  const credentials =
    accessKeyId === undefined || secretAccessKey === undefined
      ? undefined
      : { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
  return new sdk.S3Client({
    region: spec.region,
    forcePathStyle: spec.forcePathStyle,
    maxAttempts: 1,
    // Content-MD5 protects uploads, and every chunk is verified; other servers lack the newer checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: limits.connectMs,
      httpAgent: { keepAlive: true, maxSockets: limits.concurrentRequests },
      httpsAgent: { keepAlive: true, maxSockets: limits.concurrentRequests },
    },
    ...(spec.endpoint === undefined ? {} : { endpoint: spec.endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  });
}

/** The whole body, of at most `maxBytes`; the stream is gone when this ends. */
export async function readBody(
  body: unknown,
  { maxBytes, signal }: { readonly maxBytes: number; readonly signal: AbortSignal },
): Promise<Buffer> {
  if (!(body instanceof Readable)) throw new StoreUnavailableError('The store sent no body.');
  addAbortSignal(signal, body);
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body) {
    const bytes = Buffer.from(part);
    length += bytes.length;
    if (length > maxBytes) {
      throw new StoreUnavailableError('The object store sent more than was asked for.');
    }
    parts.push(bytes);
  }
  return Buffer.concat(parts, length);
}
