/**
 * What the chunk store needs of an object store. Implementations: a folder, anything that speaks S3.
 *
 * Objects appear whole or not at all and are durable when `put` resolves; a reader sees the newest.
 * No key is also the folder of another key. Every method ends by its signal, throwing its reason;
 * otherwise ObjectMissingError, ConditionFailedError, StoreUnavailableError (later), StoreRefusedError.
 */
export type PutCondition =
  | { readonly kind: 'absent' }
  | { readonly kind: 'matches'; readonly etag: string };

export interface ByteRange {
  /** In bytes; both are at least 0. */
  readonly offset: number;
  readonly length: number;
}

export interface Cancellable {
  readonly signal: AbortSignal;
}

export interface PutOptions extends Cancellable {
  readonly condition?: PutCondition;
}

export interface GetOptions extends Cancellable {
  readonly range?: ByteRange;
}

export interface StoredObject {
  readonly body: Buffer;
  readonly etag: string;
}

export interface ListedObject {
  readonly key: string;
  readonly sizeBytes: number;
  /** By the store's clock, which need not be this machine's. */
  readonly modifiedAtMs: number;
}

/** Requests as a store bills them: every attempt, one per page of a list or part of a large object. */
export interface StoreUsage {
  readonly puts: number;
  readonly gets: number;
  readonly lists: number;
  readonly removes: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export interface ObjectBackend {
  /** Since it was opened. */
  readonly usage: StoreUsage;
  /** After StoreUnavailableError it may have happened all the same, or still happen. */
  put(key: string, body: Buffer, options: PutOptions): Promise<{ readonly etag: string }>;
  /** Of a range, what there is of it: a range beyond the end gives fewer bytes, or none. */
  get(key: string, options: GetOptions): Promise<StoredObject>;
  /** Objects whose keys begin with `prefix`; those of one folder follow one another. */
  list(prefix: string, options: Cancellable): AsyncIterable<ListedObject>;
  /** What is not there any more is no error. */
  remove(keys: readonly string[], options: Cancellable): Promise<void>;
  /** Tries it out; throws ConditionalPutUnsupportedError where a condition is not honoured. */
  checkConditionalPut(signal: AbortSignal): Promise<void>;
  close(): void;
}
