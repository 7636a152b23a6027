/** What can be wrong with the chunk store and with what comes from it. No message holds a secret. */
import { ArchitectError } from '../protocol/errors.ts';

/** These bytes are not the chunk that the reference names. Another copy may be good. */
export class ChunkDamagedError extends ArchitectError {
  readonly code = 'CHUNK_DAMAGED';
  readonly retry = 'never';
}

/** A pack whose index or footer is not what its writer wrote. */
export class PackDamagedError extends ArchitectError {
  readonly code = 'PACK_DAMAGED';
  readonly retry = 'never';
}

/** A manifest or head that is damaged, or that belongs to another VM or epoch. */
export class ManifestDamagedError extends ArchitectError {
  readonly code = 'MANIFEST_DAMAGED';
  readonly retry = 'never';
}

/** The VM's head is at this point or beyond it: another writer, or a newer generation, was first. */
export class HeadMovedError extends ArchitectError {
  readonly code = 'HEAD_MOVED';
  readonly retry = 'never';
}

/** The manifest names packs that garbage collection may take before it is visible: add those chunks again. */
export class StaleChunkError extends ArchitectError {
  readonly code = 'CHUNK_STALE';
  readonly retry = 'later';
}

export class ObjectMissingError extends ArchitectError {
  readonly code = 'OBJECT_MISSING';
  readonly retry = 'never';
}

/**
 * A conditional put did not find what it expected. Where the answer to an earlier attempt was lost,
 * that may be the caller's own object: read it to see.
 */
export class ConditionFailedError extends ArchitectError {
  readonly code = 'CONDITION_FAILED';
  readonly retry = 'later';
}

/** The store does not answer, or not in time; a put may or may not have happened. */
export class StoreUnavailableError extends ArchitectError {
  readonly code = 'STORE_UNAVAILABLE';
  readonly retry = 'later';
}

/** The store answered that it will not do this: credentials, bucket, configuration. */
export class StoreRefusedError extends ArchitectError {
  readonly code = 'STORE_REFUSED';
  readonly retry = 'never';
}

/** Without conditional put two hosts could both move a VM's head; such a store is not used. */
export class ConditionalPutUnsupportedError extends ArchitectError {
  readonly code = 'CONDITIONAL_PUT_UNSUPPORTED';
  readonly retry = 'never';
}
