/**
 * The target's side of a connection's beginning: one port, open for one peer.
 *
 *   listening ──stranger──▶ listening    dropped without a word, a few at a time, each within a limit
 *       │
 *       ├──the expected host, its hello──▶ accepted: `accepted` resolves, the port is closed
 *       └──signal, close()───────────────▶ closed: `accepted` rejects with PeerListenError
 *
 * Who has another host's certificate of the fleet, or none, is a stranger. The expected host with a
 * wrong hello is told so (`refuse`), and the port stays open.
 */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { judgeHello, type PeerExpectation } from './hello.ts';
import { type ConnectionLimits, DEFAULT_LIMITS, PeerConnection } from './peer-connection.ts';
import { PeerListenError } from './peer-errors.ts';
import { isCertificateOf, type PeerIdentity, peerTlsOf } from './peer-tls.ts';

/** Connections that have not proven themselves; with one more the oldest of them goes. */
export const MAX_STRANGERS = 8;
/** From a connection's beginning to its hello. */
export const HELLO_TIMEOUT_MS = 5_000;

export interface ListenRequest {
  readonly identity: PeerIdentity;
  /** `hostId` is the source's. */
  readonly expected: PeerExpectation;
  readonly ports: { readonly first: number; readonly last: number };
  /** Ends the waiting; the connection, once accepted, goes on. */
  readonly signal: AbortSignal;
  readonly limits?: ConnectionLimits;
  readonly helloTimeoutMs?: number;
}

export interface PeerListener {
  readonly port: number;
  readonly accepted: Promise<PeerConnection>;
  close(): void;
}

/** Rejects with PeerListenError when every port of the range is taken. */
export async function listenForPeer(request: ListenRequest): Promise<PeerListener> {
  const server = createServer({
    ...peerTlsOf(request.identity),
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: request.helloTimeoutMs ?? HELLO_TIMEOUT_MS,
  });
  const port = await listenInRange(server, request.ports);
  const accepted = Promise.withResolvers<PeerConnection>();
  accepted.promise.catch(() => {});
  const strangers = new Strangers();
  let isOver = false;
  const end = (): boolean => {
    if (isOver) return false;
    isOver = true;
    request.signal.removeEventListener('abort', giveUp);
    server.close();
    return true;
  };
  const giveUp = () => {
    if (!end()) return;
    strangers.drop();
    accepted.reject(nobodyCame(request.expected, port));
  };
  const accept = (socket: TLSSocket, connection: PeerConnection): boolean => {
    if (!end()) return false;
    strangers.release(socket);
    strangers.drop();
    accepted.resolve(connection);
    return true;
  };
  server.on('connection', (socket) => strangers.add(socket));
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('secureConnection', (socket) => void greet(socket, request, accept));
  request.signal.addEventListener('abort', giveUp);
  if (request.signal.aborted) giveUp();
  return { port, accepted: accepted.promise, close: giveUp };
}

/** Ends with the connection handed to `accept`, or with the socket on its way out. */
async function greet(
  socket: TLSSocket,
  { expected, limits, helloTimeoutMs }: ListenRequest,
  accept: (socket: TLSSocket, connection: PeerConnection) => boolean,
): Promise<void> {
  socket.on('error', () => socket.destroy());
  if (!isCertificateOf(socket.getPeerCertificate(), expected.hostId)) {
    socket.destroy();
    return;
  }
  socket.setNoDelay(true);
  const connection = new PeerConnection(socket, limits ?? DEFAULT_LIMITS);
  const timer = setTimeout(() => connection.close(), helloTimeoutMs ?? HELLO_TIMEOUT_MS);
  try {
    const verdict = judgeHello(await connection.next(), expected);
    if (verdict.kind === 'refused') connection.refuse(verdict.why);
    else if (accept(socket, connection)) {
      connection.trust();
      await connection.send({ kind: 'welcome' });
    } else connection.close();
  } catch {
    connection.close();
  } finally {
    clearTimeout(timer);
  }
}

function nobodyCame({ hostId }: PeerExpectation, port: number): PeerListenError {
  return new PeerListenError(
    `Host ${hostId} did not come for its move. It has to reach this host on port ${port}.`,
  );
}

/** Begins anywhere in the range: several moves to one host begin at once. */
async function listenInRange(
  server: Server,
  { first, last }: ListenRequest['ports'],
): Promise<number> {
  const count = last - first + 1;
  const offset = randomInt(count);
  for (let turn = 0; turn < count; turn += 1) {
    const port = first + ((offset + turn) % count);
    if (await tryListen(server, port)) return port;
  }
  throw new PeerListenError(
    `Every port of ${first}-${last} is taken. Set ARCHITECT_PEER_PORTS to a wider range.`,
  );
}

async function tryListen(server: Server, port: number): Promise<boolean> {
  try {
    server.listen(port);
    await once(server, 'listening');
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return false;
    throw new PeerListenError(`Cannot listen on port ${port}.`, { cause: error });
  }
}

/** Connections below TLS: what does not even begin a handshake is bounded too. */
class Strangers {
  readonly #sockets = new Map<string, Socket>();

  add(socket: Socket): void {
    const key = keyOf(socket);
    this.#sockets.set(key, socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(key));
    const [oldest] = this.#sockets.values();
    if (this.#sockets.size > MAX_STRANGERS) oldest?.destroy();
  }

  release(socket: TLSSocket): void {
    this.#sockets.delete(keyOf(socket));
  }

  drop(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }
}

/** TLSSocket does not tell which socket it stands on; both tell the same addresses. */
function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
