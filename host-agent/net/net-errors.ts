import { ArchitectError } from '../protocol/errors.ts';

/** A network tool failed or took too long; the message carries what it printed. */
export class NetworkCommandError extends ArchitectError {
  readonly code = 'NETWORK_COMMAND';
  readonly retry = 'later';
}

/** Every address of the guests' range is taken. */
export class AddressesExhaustedError extends ArchitectError {
  readonly code = 'ADDRESSES_EXHAUSTED';
  readonly retry = 'later';
}

/** The control plane gave a VM a gateway, and this host was opened without a switch. */
export class NoSwitchError extends ArchitectError {
  readonly code = 'NO_SWITCH';
  readonly retry = 'never';
}
