/** A target that is none: swallows a source's migration stream and gives it to a real one later. */
import { once } from 'node:events';
import { chownSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { encodePong, encodeShut } from '../../../host-agent/migration/stream/return-path.ts';
import { StreamParser } from '../../../host-agent/migration/stream/stream-parser.ts';
import type { QmpClient } from '../../../host-agent/vm/qmp/qmp-client.ts';

const CAPABILITIES = ['return-path', 'switchover-ack', 'pause-before-switchover'];

export interface HeldStream extends Disposable {
  /** Resolves with the whole stream, as QEMU sent it. */
  readonly whole: Promise<readonly Buffer[]>;
}

/** Starts a migration that the source cannot finish while its guest runs. */
export async function holdStream(
  qmp: QmpClient,
  { socketPath, user }: { readonly socketPath: string; readonly user: number },
): Promise<HeldStream> {
  const whole = Promise.withResolvers<readonly Buffer[]>();
  let source: Socket | undefined;
  const server = createServer((socket) => {
    source = socket;
    swallow(socket, whole.resolve);
  }).listen(socketPath);
  await once(server, 'listening');
  chownSync(socketPath, user, user);
  const off = { capability: 'x-ignore-shared', state: false };
  const on = CAPABILITIES.map((capability) => ({ capability, state: true }));
  await qmp.run('migrate-set-capabilities', { capabilities: [off, ...on] });
  await qmp.run('migrate-set-parameters', { 'downtime-limit': 300, 'max-bandwidth': 0 });
  await qmp.run('migrate', { uri: `unix:${socketPath}` });
  const dispose = () => {
    source?.destroy();
    server.close();
  };
  return { whole: whole.promise, [Symbol.dispose]: dispose };
}

function swallow(socket: Socket, done: (pieces: readonly Buffer[]) => void): void {
  const pieces: Buffer[] = [];
  const parser = new StreamParser({
    onBlocks: () => undefined,
    onPage: () => undefined,
    onZeroPage: () => undefined,
    onRound: () => undefined,
    onPing: (value) => socket.write(encodePong(value)),
    onCommand: () => undefined,
  });
  socket.on('error', () => undefined);
  socket.on('data', (piece: Buffer) => {
    pieces.push(piece);
    parser.push(piece);
    if (!parser.isComplete) return;
    socket.write(encodeShut());
    done(pieces);
  });
}

/** Says it all to a QEMU that listens on this socket, and drops what that answers. */
export async function replayStream(socketPath: string, pieces: readonly Buffer[]): Promise<Socket> {
  const socket = connect(socketPath);
  socket.on('error', () => undefined);
  socket.resume();
  await once(socket, 'connect');
  for (const piece of pieces) if (!socket.write(piece)) await once(socket, 'drain');
  return socket;
}
