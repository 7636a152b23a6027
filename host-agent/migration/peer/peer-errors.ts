import { ArchitectError } from '../../protocol/errors.ts';

/** The other agent sent what cannot be: the move is given up, the VM runs on at the source. */
export class PeerProtocolError extends ArchitectError {
  readonly code = 'PEER_PROTOCOL';
  readonly retry = 'later';
}

/** The connection to the other agent ended, broke, or nothing came over it for too long. */
export class PeerLostError extends ArchitectError {
  readonly code = 'PEER_LOST';
  readonly retry = 'later';
}

/** The other agent understood, and says why it does not go on. */
export class PeerRefusedError extends ArchitectError {
  readonly code = 'PEER_REFUSED';
  readonly retry = 'later';
}

/** This side gave the move up; `cause` or the message says why. */
export class PeerAbortedError extends ArchitectError {
  readonly code = 'PEER_ABORTED';
  readonly retry = 'later';
}

/** No port to listen on, or the expected host did not come. */
export class PeerListenError extends ArchitectError {
  readonly code = 'PEER_LISTEN';
  readonly retry = 'later';
}
