/**
 * A unix socket that carries one JSON text per line, as QMP and the QEMU guest agent speak. The peer
 * may be hostile: a line has a byte limit, and the connection ends when it is passed.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const CONNECT_RETRY_MS = 3;
const NEWLINE = 0x0a;

export interface LineHandlers {
  readonly onLine: (line: Buffer) => void;
  /** Called once; `why` says whether the peer closed, the line was too long, or the socket broke. */
  readonly onClose: (why: string) => void;
}

export interface LineSocket {
  send(bytes: string | Uint8Array): void;
  /** The reason given first is what `onClose` is told. */
  close(why?: string): void;
}

/**
 * Connects, and tries again while nobody listens yet, until the signal aborts (rejects with its
 * reason). The caller's signal is the time limit.
 */
export async function connectWhenListening(path: string, signal: AbortSignal): Promise<Socket> {
  for (;;) {
    signal.throwIfAborted();
    const socket = connect({ path });
    try {
      await once(socket, 'connect', { signal });
      return socket;
    } catch {
      socket.destroy();
      signal.throwIfAborted();
      await delay(CONNECT_RETRY_MS, undefined, { signal });
    }
  }
}

/** Splits what the socket brings into lines of at most `maxLineBytes`. Owns the socket from now on. */
export function openLines(
  socket: Socket,
  { maxLineBytes, handlers }: { readonly maxLineBytes: number; readonly handlers: LineHandlers },
): LineSocket {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let why: string | undefined;
  const end = (reason: string) => {
    why ??= reason;
    socket.destroy();
  };
  const take = (piece: Buffer) => {
    held.push(piece);
    heldBytes += piece.length;
    if (heldBytes > maxLineBytes) end(`the peer sent a line of more than ${maxLineBytes} bytes`);
  };
  socket.on('data', (chunk: Buffer) => {
    let start = 0;
    for (;;) {
      const stop = chunk.indexOf(NEWLINE, start);
      if (why !== undefined) return;
      if (stop < 0) break;
      take(chunk.subarray(start, stop));
      const line = Buffer.concat(held);
      held = [];
      heldBytes = 0;
      start = stop + 1;
      if (why === undefined) handlers.onLine(line);
    }
    if (start < chunk.length) take(chunk.subarray(start));
  });
  socket.on('error', (error) => end(error.message));
  socket.on('end', () => end('the peer closed the connection'));
  socket.on('close', () => handlers.onClose(why ?? 'the connection was closed'));
  return {
    send: (bytes) => {
      if (!socket.destroyed) socket.write(bytes);
    },
    close: (reason = 'closed by the host-agent') => end(reason),
  };
}
