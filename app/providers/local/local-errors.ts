import { ArchitectError } from '../../../host-agent/protocol/errors.ts';

/** A tool that the local provider runs failed; the message carries what it printed. */
export class LocalCommandError extends ArchitectError {
  readonly code = 'LOCAL_COMMAND';
  readonly retry = 'later';
}

/** No number is left for another fleet or host on this machine. */
export class LocalCapacityError extends ArchitectError {
  readonly code = 'LOCAL_CAPACITY';
  readonly retry = 'later';
}

/** Something of a host or fleet could not be removed; the message lists what. */
export class LocalCleanupError extends ArchitectError {
  readonly code = 'LOCAL_CLEANUP';
  readonly retry = 'later';
}
