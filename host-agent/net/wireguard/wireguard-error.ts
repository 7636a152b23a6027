import { ArchitectError } from '../../protocol/errors.ts';

/** The link under the tunnel cannot be made or set; the message says what to do. */
export class WireguardError extends ArchitectError {
  readonly code = 'WIREGUARD';
  readonly retry = 'later';
}
