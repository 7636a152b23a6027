/**
 * Errors of the AWS SDK in this project's words. An answer of an S3 server may repeat what was sent to
 * it, headers and all, and the SDK's errors carry requests: so neither messages nor causes are passed
 * on, only the operation, the status and the error's name.
 */
import { ArchitectError } from '../protocol/errors.ts';
import {
  ConditionFailedError,
  ObjectMissingError,
  StoreRefusedError,
  StoreUnavailableError,
} from './chunk-errors.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
const SAFE_NAME = /^[A-Za-z0-9_.]{1,64}$/;
/** Refused now, and worth another try: time-out, conflict of two conditional writes, throttling. */
const PASSING_STATUS: ReadonlySet<number> = new Set([408, 409, 425, 429]);
const PASSING_NAMES: ReadonlySet<string> = new Set([
  'BadDigest',
  'ExpiredToken',
  'IncompleteBody',
  'RequestTimeout',
  'SlowDown',
]);

/** What is read of an error, whatever it is. */
interface Seen {
  readonly name: string;
  readonly status: number | undefined;
}

export function translateS3Error(
  error: unknown,
  { what, key }: { readonly what: string; readonly key: string },
): ArchitectError {
  if (error instanceof ArchitectError) return error;
  const { name, status } = look(error);
  const detail = { context: { what, key, name, status } };
  const answer = `The object store answered ${status ?? 'nothing usable'} (${name}) to: ${what}.`;
  if (status === 412) {
    return new ConditionFailedError(
      'The object in the store is not the one that was expected.',
      detail,
    );
  }
  if (status === 404 && name !== 'NoSuchBucket') {
    return new ObjectMissingError('The object is not in the object store.', detail);
  }
  if (isPassing(name, status)) {
    return new StoreUnavailableError(`${answer} It may work later.`, detail);
  }
  return new StoreRefusedError(
    `${answer} Check the bucket, the region, the credentials and their rights, and this machine's clock.`,
    detail,
  );
}

export function isUnavailable(error: unknown): boolean {
  return error instanceof StoreUnavailableError;
}

/** Errors without a status come from the way there: connection, time-out, nonsense. */
function isPassing(name: string, status: number | undefined): boolean {
  if (name === 'CredentialsProviderError') return false;
  if (status === undefined || status < 400) return true;
  return (status >= 500 && status !== 501) || PASSING_STATUS.has(status) || PASSING_NAMES.has(name);
}

function look(error: unknown): Seen {
  if (!(error instanceof Error)) return { name: 'unknown', status: undefined };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return { name: SAFE_NAME.test(code) ? code : 'unknown', status: statusOf(error) };
}

function statusOf(error: Error): number | undefined {
  if (!('$metadata' in error)) return undefined;
  const metadata = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null) return undefined;
  const status = 'httpStatusCode' in metadata ? metadata.httpStatusCode : undefined;
  return typeof status === 'number' ? status : undefined;
}
