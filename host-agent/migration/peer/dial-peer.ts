/** The source's side of a connection's beginning. */
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import type { PeerEndpoint } from '../../protocol/migration-messages.ts';
import { helloFor, type PeerExpectation } from './hello.ts';
import { type ConnectionLimits, DEFAULT_LIMITS, PeerConnection } from './peer-connection.ts';
import { PeerLostError, PeerProtocolError, PeerRefusedError } from './peer-errors.ts';
import { isCertificateOf, type PeerIdentity, peerTlsOf } from './peer-tls.ts';

/** From the first packet to the welcome. */
export const DIAL_TIMEOUT_MS = 10_000;

export interface DialRequest {
  readonly identity: PeerIdentity;
  /** `hostId` is the target's. */
  readonly expected: PeerExpectation;
  readonly endpoint: PeerEndpoint;
  readonly signal: AbortSignal;
  readonly limits?: ConnectionLimits;
  readonly timeoutMs?: number;
}

/**
 * Connects and is welcomed. Rejects with PeerLostError (nobody there, not the host that was announced,
 * or it hung up), PeerRefusedError (it does not want this move) or PeerProtocolError; nothing stays open.
 */
export async function dialPeer(request: DialRequest): Promise<PeerConnection> {
  const limit = AbortSignal.timeout(request.timeoutMs ?? DIAL_TIMEOUT_MS);
  const signal = AbortSignal.any([request.signal, limit]);
  const socket = await connectTo(request, signal);
  const connection = new PeerConnection(socket, request.limits ?? DEFAULT_LIMITS);
  const stop = () => connection.fail(new PeerLostError('The other host did not answer in time.'));
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  try {
    await connection.send(helloFor(request.expected));
    const answer = await connection.next();
    if (answer.kind === 'refuse') {
      throw new PeerRefusedError(`The target refused: ${answer.why}`, {
        context: { why: answer.why },
      });
    }
    if (answer.kind !== 'welcome') throw new PeerProtocolError('The target did not greet.');
    connection.trust();
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function connectTo(request: DialRequest, signal: AbortSignal): Promise<TLSSocket> {
  const { host, port } = request.endpoint;
  const socket = connect({
    ...peerTlsOf(request.identity),
    host,
    port,
    checkServerIdentity: (_name, certificate) =>
      isCertificateOf(certificate, request.expected.hostId)
        ? undefined
        : new Error(`it is not host ${request.expected.hostId}`),
  });
  try {
    await once(socket, 'secureConnect', { signal });
    socket.setNoDelay(true);
    return socket;
  } catch (cause) {
    socket.on('error', () => {});
    socket.destroy();
    const why = cause instanceof Error ? cause.message : 'unknown';
    throw new PeerLostError(
      `Host ${request.expected.hostId} cannot be reached at ${host}:${port}: ${why}. Hosts have to reach each other on ARCHITECT_PEER_PORTS.`,
      { cause },
    );
  }
}
