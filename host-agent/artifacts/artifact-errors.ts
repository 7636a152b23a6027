/** What can be wrong with an artifact. Each says which one, what about it, and what to do now. */
import { ArchitectError } from '../protocol/errors.ts';

/** Not in this store; it may be fetched. */
export class ArtifactMissingError extends ArchitectError {
  readonly code = 'ARTIFACT_MISSING';
  readonly retry = 'later';
}

/** Its bytes are not what its digest promises. Trying the same source again gives the same. */
export class ArtifactDamagedError extends ArchitectError {
  readonly code = 'ARTIFACT_DAMAGED';
  readonly retry = 'never';
}

/** The source did not answer, or stopped in the middle. */
export class ArtifactFetchError extends ArchitectError {
  readonly code = 'ARTIFACT_FETCH';
  readonly retry = 'later';
}

/** No room in the store; what was written of the artifact has been removed again. */
export class ArtifactDiskFullError extends ArchitectError {
  readonly code = 'ARTIFACT_DISK_FULL';
  readonly retry = 'later';
}
