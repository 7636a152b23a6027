/** Finds out that the other side is gone when TCP does not: a host's network may just fall silent. */
import type { WebSocket } from 'ws';

const PING_INTERVAL_MS = 5_000;
/** The control plane answers pings; this many unanswered ones and the connection is dead. */
const UNANSWERED_LIMIT = 3;

/** Pings an open socket and ends it when nothing is heard; gives what stops the pinging. */
export function keepAlive(socket: WebSocket): () => void {
  let unanswered = 0;
  const heard = () => {
    unanswered = 0;
  };
  socket.on('pong', heard);
  socket.on('message', heard);
  const timer = setInterval(() => {
    if (socket.readyState !== socket.OPEN) return;
    if (unanswered >= UNANSWERED_LIMIT) return socket.terminate();
    unanswered += 1;
    socket.ping();
  }, PING_INTERVAL_MS);
  return () => clearInterval(timer);
}
