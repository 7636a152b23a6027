import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import {
  BLOCKS,
  changeMemory,
  makeBase,
  memoryDifferences,
  seeded,
} from '../../../test/fakes/vm-images/random-vm.ts';
import { MemoryImage } from '../image/memory-image.ts';
import { PAGE_BYTES, RAM, SECTION } from '../stream/stream-format.ts';
import { StreamParser } from '../stream/stream-parser.ts';
import { FeedError, Feeder } from './feeder.ts';

const RAM_ID = 2;
const DESCRIPTION = '{"devices": []}';
const STATE = Buffer.concat([
  Buffer.from([SECTION.full, 1, 2, 3, 0, SECTION.description, 0, 0, 0, DESCRIPTION.length]),
  Buffer.from(DESCRIPTION),
]);

function number(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, Math.max(0, bytes - 6), Math.min(bytes, 6));
  return buffer;
}

function named(name: string): Buffer {
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name)]);
}

function prologue(): Buffer {
  const total = BLOCKS.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return Buffer.concat([
    ...[Buffer.from('QEVM'), number(3, 4), Buffer.from([SECTION.configuration]), number(1, 4)],
    ...[Buffer.from('q'), Buffer.from([SECTION.start]), number(RAM_ID, 4), named('ram')],
    ...[number(0, 4), number(4, 4), number(total + RAM.memorySize, 8)],
    ...BLOCKS.flatMap(({ name, sizeBytes }) => [named(name), number(sizeBytes, 8)]),
    ...[number(RAM.endOfRound, 8), Buffer.from([SECTION.footer]), number(RAM_ID, 4)],
  ]);
}

/** A QEMU that loads what it gets, beginning with the template's memory. */
function incoming(image: MemoryImage) {
  const parser = new StreamParser({
    onBlocks: () => {},
    onPage: (block, offset, bytes) => image.putPage(block, offset, bytes),
    onZeroPage: (block, offset) => image.putZero(block, offset),
    onRound: () => {},
    onPing: () => {},
    onCommand: () => {},
  });
  const held: (() => void)[] = [];
  let isHolding = false;
  const socket = new Duplex({
    highWaterMark: 16 * 1024,
    read: () => {},
    write: (piece: Buffer, _encoding, done) => {
      parser.push(piece);
      if (isHolding) held.push(done);
      else setImmediate(done);
    },
  });
  const hold = () => {
    isHolding = true;
  };
  const release = () => {
    isHolding = false;
    for (const done of held.splice(0)) done();
  };
  return { socket, parser, hold, release };
}

function machine(seed: number) {
  const chance = seeded(seed);
  const base = makeBase(chance);
  const make = () => new MemoryImage({ blocks: BLOCKS, base: { block: 'm0', memory: base } });
  return { chance, base, image: make(), target: make() };
}

const stream = { prologue: prologue(), ramSectionId: RAM_ID };

test.each([1, 2, 3, 4])('seed %i: QEMU has what the image has', async (seed) => {
  const { chance, base, image, target } = machine(seed);
  const qemu = incoming(target);
  changeMemory(image, { chance, base, changes: 200 });
  const feeder = new Feeder({ ...stream, socket: qemu.socket, image });
  for (let turn = 0; turn < 20; turn += 1) {
    changeMemory(image, { chance, base, changes: 60 });
    feeder.poke();
    await new Promise(setImmediate);
  }
  await feeder.finish([STATE]);
  expect(memoryDifferences(image, target)).toEqual([]);
  expect(qemu.parser.isComplete).toBe(true);
  expect(qemu.parser.deviceState).toEqual(STATE);
  feeder.close();
});

test('what the template has is not fed, and zeros cost next to nothing', async () => {
  const { base, image, target } = machine(5);
  const qemu = incoming(target);
  const feeder = new Feeder({ ...stream, socket: qemu.socket, image });
  image.putPage(0, 0, Buffer.alloc(PAGE_BYTES, 9));
  const filled = [1, 2, 3, 4, 5, 6].filter((page) => !base.isZero(page));
  for (const page of filled) image.putZero(0, page * PAGE_BYTES);
  expect(filled.length).toBeGreaterThan(1);
  await feeder.finish([STATE]);
  expect(memoryDifferences(image, target)).toEqual([]);
  expect(feeder.fedBytes).toBeLessThan(stream.prologue.length + STATE.length + 2 * PAGE_BYTES);
  feeder.close();
});

test('QEMU gets to the end of its stream only once the disk is closed', async () => {
  const { image, target } = machine(8);
  const qemu = incoming(target);
  const feeder = new Feeder({ ...stream, socket: qemu.socket, image });
  const disk = Promise.withResolvers<void>();
  const finished = feeder.finish([STATE], disk.promise);
  while (feeder.fedBytes < stream.prologue.length + STATE.length) await new Promise(setImmediate);
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  expect(qemu.parser.isComplete).toBe(false);
  disk.resolve();
  await finished;
  expect(qemu.parser.isComplete).toBe(true);
  feeder.close();
});

test("QEMU gets the devices' state as it comes, but for the last byte that is there", async () => {
  const { image, target } = machine(10);
  const qemu = incoming(target);
  const feeder = new Feeder({ ...stream, socket: qemu.socket, image });
  const half = Math.floor(STATE.length / 2);
  const seen: number[] = [];
  async function* slowly() {
    yield STATE.subarray(0, half);
    while (qemu.parser.deviceState.length < half - 1) await new Promise(setImmediate);
    seen.push(qemu.parser.deviceState.length);
    yield STATE.subarray(half);
  }
  await feeder.finish(slowly());
  expect(seen).toEqual([half - 1]);
  expect(qemu.parser.deviceState).toEqual(STATE);
  feeder.close();
});

test('a disk that cannot be closed fails the end', async () => {
  const { image, target } = machine(9);
  const feeder = new Feeder({ ...stream, socket: incoming(target).socket, image });
  await expect(feeder.finish([STATE], Promise.reject(new Error('full')))).rejects.toThrow('full');
  feeder.close();
});

test('a QEMU that takes nothing is not sent more than one part', () => {
  const { chance, base, image, target } = machine(6);
  const qemu = incoming(target);
  qemu.hold();
  const feeder = new Feeder({ ...stream, socket: qemu.socket, image });
  changeMemory(image, { chance, base, changes: 3_000 });
  for (let turn = 0; turn < 10; turn += 1) feeder.poke();
  expect(feeder.fedBytes).toBeLessThan(2 * 1024 * 1024);
  expect(feeder.pendingPages).toBeGreaterThan(256);
  feeder.close();
});

test('a QEMU that hangs, or ends, ends the feeding with one kind of error', async () => {
  for (const end of ['hangs', 'ends']) {
    const { chance, base, image, target } = machine(7);
    const qemu = incoming(target);
    qemu.hold();
    const feeder = new Feeder({ ...stream, socket: qemu.socket, image, stallMs: 50 });
    changeMemory(image, { chance, base, changes: 100 });
    const finished = feeder.finish([STATE]);
    if (end === 'ends') qemu.socket.destroy();
    await expect(finished).rejects.toThrow(FeedError);
    await expect(feeder.finish([STATE])).rejects.toThrow(FeedError);
  }
});
