/** The unix socket on which one QEMU, unprivileged and in its sandbox, delivers its migration stream. */
import { once } from 'node:events';
import { chmod, chown, readFile, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';

/** Linux's own default, where it cannot be read. */
const USUAL_BUFFER_BYTES = 212_992;

export interface StreamListener {
  /** The one connection. Rejects with the signal's reason. */
  readonly accepted: Promise<Socket>;
  /** Nothing listens any more and the path is gone; an accepted connection stays. */
  close(): Promise<void>;
}

/**
 * Listens for one connection. `path`: in a folder that is root's and that QEMU may pass (0711), never
 * in QEMU's own, where it could put something else in the socket's place. `user` is QEMU's (uid and
 * gid); nobody else may connect. Rejects when it cannot listen; then nothing is left.
 */
export async function listenForStream(
  path: string,
  { user, signal }: { readonly user: number; readonly signal: AbortSignal },
): Promise<StreamListener> {
  signal.throwIfAborted();
  await rm(path, { force: true });
  const server = createServer({ pauseOnConnect: true });
  server.maxConnections = 1;
  const close = async () => {
    server.close();
    await rm(path, { force: true });
  };
  try {
    server.listen(path);
    await once(server, 'listening', { signal });
    await chmod(path, 0o600);
    await chown(path, user, user);
  } catch (error) {
    await close();
    throw error;
  }
  const accepted = once(server, 'connection', { signal }).then(([socket]: Socket[]) => {
    server.close();
    if (socket === undefined) throw new Error('a connection without a socket');
    return socket;
  });
  // Whoever closes before anybody connected need not wait for it as well.
  accepted.catch(() => undefined);
  return { accepted, close };
}

/** What a new unix socket may have unread at its other end (unix(7), net.core.wmem_default). */
export async function readSocketBufferBytes(): Promise<number> {
  const text = await readFile('/proc/sys/net/core/wmem_default', 'utf8').catch(() => '');
  const bytes = Number.parseInt(text, 10);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : USUAL_BUFFER_BYTES;
}
