/**
 * Serves a disk's image to the NBD client in one QEMU, on a unix socket.
 *
 *   listen → (connection → requests, one after the other → end)* → close
 *
 * One client at a time, and the newest counts: QEMU connects anew before the end of its old
 * connection is noticed here. A client that breaks the protocol, or an image that broke, ends a
 * connection, never the server; why is what `onConnectionEnd` hears. Reading stops while a request
 * is executed, so that no more than one request and one piece of the socket is in memory.
 */
import { once } from 'node:events';
import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { ArchitectError } from '../../protocol/errors.ts';
import { NbdProtocolError } from './disk-errors.ts';
import type { DiskImage } from './disk-image.ts';
import { executeRequest, failedReply } from './nbd-execute.ts';
import type { NbdRequest } from './nbd-format.ts';
import { NbdParser, type NbdStep } from './nbd-parser.ts';

export interface NbdServerOptions {
  /** In a folder of root's that QEMU's user may traverse. What is there before is removed. */
  readonly socketPath: string;
  readonly image: DiskImage;
  /** Uid and gid of the QEMU that may connect; root alone otherwise. */
  readonly user?: number;
  /** Called when a connection has ended; undefined: as NBD says it should. */
  readonly onConnectionEnd?: (why: ArchitectError | undefined) => void;
}

export class NbdServer {
  readonly socketPath: string;
  readonly #server: Server;
  readonly #image: DiskImage;
  readonly #onConnectionEnd: NonNullable<NbdServerOptions['onConnectionEnd']>;
  #current: { readonly socket: Socket; readonly served: Promise<void> } | undefined;

  private constructor(options: NbdServerOptions) {
    this.socketPath = options.socketPath;
    this.#image = options.image;
    this.#onConnectionEnd = options.onConnectionEnd ?? (() => undefined);
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Resolves when clients may connect. Rejects with the system's error. */
  static async listen(options: NbdServerOptions): Promise<NbdServer> {
    const server = new NbdServer(options);
    await rm(options.socketPath, { force: true });
    server.#server.listen(options.socketPath);
    await once(server.#server, 'listening');
    server.#server.on('error', (error) => server.#onConnectionEnd(explain(error)));
    try {
      await chmod(options.socketPath, 0o600);
      const { user } = options;
      if (user !== undefined) await chown(options.socketPath, user, user);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Ends the connection, waits for the request that is executed, and removes the socket. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#current?.socket.destroy();
    await this.#current?.served;
    await closed;
  }

  #accept(socket: Socket): void {
    // The reading loop hears of errors as well, but not before it begins.
    socket.on('error', () => undefined);
    const before = this.#current;
    before?.socket.destroy();
    // The old client's last request ends before the new one's first begins.
    const served = Promise.resolve(before?.served).then(() => this.#serve(socket));
    this.#current = { socket, served };
  }

  async #serve(socket: Socket): Promise<void> {
    let why: ArchitectError | undefined;
    try {
      await serveConnection(socket, this.#image);
    } catch (error) {
      why = explain(error);
    } finally {
      socket.destroy();
    }
    this.#onConnectionEnd(why);
  }
}

/** Resolves when the client has disconnected as it should. */
async function serveConnection(socket: Socket, image: DiskImage): Promise<void> {
  const parser = new NbdParser(image.sizeBytes);
  await send(socket, parser.greeting);
  for await (const piece of socket) {
    for (const step of parser.push(piece)) {
      if (step.kind === 'end') return;
      await perform(socket, image, step);
    }
  }
  throw new NbdProtocolError('The client of a disk left without a word.');
}

async function perform(socket: Socket, image: DiskImage, step: Exclude<NbdStep, { kind: 'end' }>) {
  if (step.kind === 'send') return send(socket, step.bytes);
  await send(socket, await execute(socket, image, step.request));
}

async function execute(socket: Socket, image: DiskImage, request: NbdRequest): Promise<Buffer> {
  try {
    return await executeRequest(image, request);
  } catch (error) {
    // QEMU's copy job fails with this and keeps what was not copied in its bitmap.
    await send(socket, failedReply(request));
    throw error;
  }
}

async function send(socket: Socket, bytes: Buffer): Promise<void> {
  if (socket.destroyed) throw new NbdProtocolError('The client of a disk is gone.');
  if (socket.write(bytes) || socket.destroyed) return;
  const gone = new AbortController();
  const abort = () => gone.abort();
  socket.once('close', abort);
  try {
    await once(socket, 'drain', { signal: gone.signal });
  } finally {
    socket.off('close', abort);
  }
}

function explain(cause: unknown): ArchitectError {
  if (cause instanceof ArchitectError) return cause;
  return new NbdProtocolError('The connection to the client of a disk broke.', { cause });
}
