/**
 * The chunk store: can it be written to, read and, where it is a bucket, does it honour conditions on
 * puts? Some S3-compatible servers take If-None-Match and ignore it; two hosts could then both claim
 * one VM's newest state. Source: docs.aws.amazon.com, "Conditional writes".
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { S3StoreSpec, StoreSpec } from '../../../host-agent/protocol/store-spec.ts';
import { type Finding, failed, fine, warning } from './finding.ts';

const CHECK = 'chunk store';
const TIMEOUT_MS = 10_000;
const PRECONDITION_FAILED = 412;
const CONTENT = 'written by architect doctor';

export async function checkStore(store: StoreSpec | undefined): Promise<Finding> {
  if (store === undefined) {
    return warning(
      CHECK,
      'There is none: VMs move, but cannot be parked or rewound, and every byte comes from the old host.',
      'Set store.bucket, or store.folder to a folder that all hosts share.',
    );
  }
  return store.kind === 'folder' ? await checkFolder(store.path) : await checkBucket(store);
}

async function checkFolder(path: string): Promise<Finding> {
  const file = join(path, `.architect-doctor-${randomUUID()}`);
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await writeFile(file, CONTENT, { mode: 0o600, flush: true });
    if ((await readFile(file, 'utf8')) !== CONTENT) throw new Error('it gave back something else');
    return fine(CHECK, `The folder ${path} can be written to.`);
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unknown';
    return failed(
      CHECK,
      `The folder ${path} cannot be written to: ${why}.`,
      'Mount it, make room, or let the user that runs architect write there (store.folder).',
    );
  } finally {
    await rm(file, { force: true }).catch(() => undefined);
  }
}

async function checkBucket(store: S3StoreSpec): Promise<Finding> {
  const { S3Client, PutObjectCommand, DeleteObjectCommand } = await import('@aws-sdk/client-s3');
  const { endpoint, region, forcePathStyle, credentials, bucket: Bucket } = store;
  const client = new S3Client({
    region,
    forcePathStyle,
    maxAttempts: 1,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials: plain(credentials) }),
  });
  const Key = `${store.prefix}architect-doctor/${randomUUID()}`;
  const options = { abortSignal: AbortSignal.timeout(TIMEOUT_MS) };
  const put = () =>
    client.send(new PutObjectCommand({ Bucket, Key, Body: CONTENT, IfNoneMatch: '*' }), options);
  try {
    await put();
    const second = await put().then(() => 'taken' as const, statusOf);
    await client.send(new DeleteObjectCommand({ Bucket, Key }), options);
    return judgeSecondPut(Bucket, second);
  } catch (error) {
    return judgeFailure(store, error);
  } finally {
    client.destroy();
  }
}

function plain({
  accessKeyId,
  secretAccessKey,
  sessionToken,
}: NonNullable<S3StoreSpec['credentials']>) {
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

function judgeSecondPut(bucket: string, second: 'taken' | number): Finding {
  if (second === PRECONDITION_FAILED)
    return fine(CHECK, `The bucket ${bucket} can be written to, and honours conditions on puts.`);
  return failed(
    CHECK,
    `The bucket ${bucket} ignores conditions on puts (If-None-Match), so it is not safe for VMs.`,
    'Take a store that has them (AWS S3, or a newer version of yours), or a shared folder (store.folder).',
  );
}

function judgeFailure({ bucket, endpoint, region }: S3StoreSpec, error: unknown): Finding {
  const status = statusOf(error);
  const place = endpoint ?? `AWS ${region}`;
  if (status === 403 || status === 401)
    return failed(
      CHECK,
      `The bucket ${bucket} at ${place} may not be written to (${status}).`,
      'Allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket, or see store.credentialsFile.',
    );
  if (status === 404)
    return failed(
      CHECK,
      `There is no bucket ${bucket} at ${place}.`,
      'Make it, or see store.bucket and store.region.',
    );
  const why = error instanceof Error ? error.name : 'no answer';
  return failed(
    CHECK,
    `The bucket ${bucket} at ${place} does not answer (${why}).`,
    'See store.endpoint and the network.',
  );
}

/** 0: there was no answer. */
function statusOf(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('$metadata' in error)) return 0;
  const { $metadata: metadata } = error;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata))
    return 0;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : 0;
}
