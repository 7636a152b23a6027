/** The connection ends after each frame that a move consists of, and within it. */
import { type Duplex, duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { MemoryChunkStore } from '../../../test/fakes/chunks/memory-chunk-store.ts';
import {
  BLOCKS,
  changeImages,
  DISK_BYTES,
  differences,
  makeBase,
  makeImages,
  seeded,
} from '../../../test/fakes/vm-images/random-vm.ts';
import { FrameParser, HEAD_BYTES } from '../peer/frame-codec.ts';
import { PeerConnection } from '../peer/peer-connection.ts';
import { PeerLostError } from '../peer/peer-errors.ts';
import { decodeFrame, encodeFrame, MAX_PAYLOAD_BYTES, type Machine } from '../peer/peer-frames.ts';
import { Sealer } from '../seal/sealer.ts';
import type { VmImages } from './areas.ts';
import { Receiver } from './receiver.ts';
import { Sender } from './sender.ts';

const signal = AbortSignal.timeout(60_000);
const PROLOGUE = Buffer.from('QEVM');
const END = { prologue: PROLOGUE, deviceState: [Buffer.from('devices')] };
const MACHINE: Machine = {
  blocks: [...BLOCKS],
  prologue: PROLOGUE.toString('base64'),
  ramSectionId: 2,
  diskBytes: DISK_BYTES,
  facts: null,
};

/** A machine that is half in the store. */
async function openVm() {
  const chance = seeded(1);
  const base = makeBase(chance);
  const images = await makeImages(base);
  await changeImages(images, { chance, base, changes: 150 });
  const store = new MemoryChunkStore();
  const sealer = new Sealer({ ...images, store });
  const targets = sealer.unsealed().filter((_, at) => at % 2 === 0);
  await sealer.step(targets, { limitBytes: Number.POSITIVE_INFINITY, signal });
  await changeImages(images, { chance, base, changes: 10 });
  return { base, images, store, sealer };
}
type Vm = Awaited<ReturnType<typeof openVm>>;

function connectionOver(socket: Duplex): PeerConnection {
  const connection = new PeerConnection(socket);
  connection.trust();
  return connection;
}

function sendFrom({ images, sealer }: Vm, socket: Duplex): Sender {
  const connection = connectionOver(socket);
  const layout = () => sealer.layout();
  return new Sender({ connection, images, machine: MACHINE, layout, onToken: () => {} });
}

function receiveInto(images: VmImages, { store }: Vm, socket: Duplex): Receiver {
  return new Receiver({
    connection: connectionOver(socket),
    open: () => Promise.resolve(images),
    store,
    onFilled: () => {},
    onToken: () => {},
  });
}

async function sendAll(source: Sender): Promise<void> {
  await source.start(signal);
  await source.round(100_000);
  await source.finish(END);
  await source.loaded(signal);
}

/** The frames of a whole move, each as it went over the wire. */
async function recordMove(vm: Vm): Promise<readonly Buffer[]> {
  const [near, far] = duplexPair();
  const [wire, end] = duplexPair();
  const frames: Buffer[] = [];
  const parser = new FrameParser(MAX_PAYLOAD_BYTES);
  far.on('data', (piece: Buffer) => {
    parser.push(piece, (raw) => frames.push(encodeFrame(decodeFrame(raw))));
    wire.write(piece);
  });
  wire.on('data', (piece: Buffer) => far.write(piece));
  await using images = await makeImages(vm.base);
  const source = sendFrom(vm, near);
  const target = receiveInto(images, vm, end);
  await source.start(signal);
  await source.round(100_000);
  await source.finish(END);
  const arrival = await target.arrived;
  expect(await differences(vm.images, arrival.images)).toEqual([]);
  source.close();
  target.close();
  return frames.filter((frame) => !isPing(frame));
}

function isPing(frame: Buffer): boolean {
  return frame.includes('"ping"') && frame.length < 64;
}

test('a target to which the connection ends, wherever, is not complete and says so', async () => {
  const vm = await openVm();
  await using _ = vm.images;
  const frames = await recordMove(vm);
  expect(frames.length).toBeGreaterThan(8);
  for (let whole = 0; whole < frames.length; whole += 1) {
    for (const part of [0, HEAD_BYTES - 1, HEAD_BYTES + 1]) {
      const [near, far] = duplexPair();
      await using images = await makeImages(vm.base);
      const target = receiveInto(images, vm, far);
      near.resume();
      for (const frame of frames.slice(0, whole)) near.write(frame);
      near.end(frames[whole]?.subarray(0, part));
      await expect(target.arrived).rejects.toThrow(PeerLostError);
    }
  }
});

test('a source to which the connection ends, wherever, does not think that it has moved', async () => {
  const vm = await openVm();
  await using _ = vm.images;
  const frames = await recordMove(vm);
  for (let whole = 0; whole <= frames.length; whole += 1) {
    const [near, far] = duplexPair();
    const source = sendFrom(vm, near);
    let seen = 0;
    const parser = new FrameParser(MAX_PAYLOAD_BYTES);
    far.on('data', (piece: Buffer) =>
      parser.push(piece, () => {
        seen += 1;
        if (whole > 0 && seen === 1) far.write(encodeFrame({ kind: 'ready' }));
        if (seen === whole) far.end();
      }),
    );
    if (whole === 0) far.end();
    await expect(sendAll(source)).rejects.toThrow(PeerLostError);
    await expect(source.round(1)).rejects.toThrow(PeerLostError);
  }
});
