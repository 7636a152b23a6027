import { ArchitectError } from '../../protocol/errors.ts';

/** The template's memory could not be read, or is not what it should be. */
export class MemoryBaseError extends ArchitectError {
  readonly code = 'MEMORY_BASE';
  readonly retry = 'later';
}
