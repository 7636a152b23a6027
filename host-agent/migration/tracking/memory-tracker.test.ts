import { type Duplex, duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { MemoryImage } from '../image/memory-image.ts';
import { encodePong, encodeShut } from '../stream/return-path.ts';
import { encodeRamSection, type PageRun } from '../stream/stream-encoder.ts';
import { MigrationStreamError } from '../stream/stream-errors.ts';
import { MAGIC, PAGE_BYTES, RAM, SECTION } from '../stream/stream-format.ts';
import { MemoryTracker } from './memory-tracker.ts';

const RAM_ID = 2;
const PAGES = 4;
const KERNEL_BYTES = 2_000;
const LIMIT_MS = 10_000;
const STATE = Buffer.from([SECTION.full, 9, SECTION.eof, SECTION.description, 0, 0, 0, 2]);

function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}

function prologue(): Buffer {
  const sizeBytes = PAGES * PAGE_BYTES;
  return Buffer.concat([
    u32(MAGIC, 3),
    Buffer.from([SECTION.start]),
    u32(RAM_ID),
    Buffer.from('\x03ram\0\0\0\0\0\0\0\x04'),
    ...[u32(0, sizeBytes | RAM.memorySize), Buffer.from('\x02m0'), u32(0, sizeBytes)],
    ...[u32(0, RAM.endOfRound), Buffer.from([SECTION.footer]), u32(RAM_ID)],
  ]);
}

function section(runs: readonly PageRun[] = [], isLast = false): Buffer {
  return encodeRamSection(RAM_ID, { runs, isLast });
}

function page(number: number, fill: number): PageRun {
  return { block: 'm0', offset: number * PAGE_BYTES, content: Buffer.alloc(PAGE_BYTES, fill) };
}

function connect(): { tracker: MemoryTracker; qemu: Duplex; image: MemoryImage } {
  const [ours, qemu] = duplexPair();
  const image = new MemoryImage({ blocks: [], base: undefined });
  const kernelBytes = KERNEL_BYTES;
  const tracker = new MemoryTracker({ socket: ours, kernelBytes, image: () => image });
  qemu.on('error', () => undefined);
  return { tracker, qemu, image };
}

/** What QEMU does while its migration is held and its guest idle. */
function spin(qemu: Duplex): Disposable {
  const timer = setInterval(() => qemu.write(section()), 1);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function limit(): AbortSignal {
  return AbortSignal.timeout(LIMIT_MS);
}

test('a pulse takes what came, counts what differs, and rests', async () => {
  const { tracker, qemu, image } = connect();
  qemu.write(Buffer.concat([prologue(), section([page(0, 7), page(1, 0), page(3, 7)])]));
  using _spinning = spin(qemu);
  const report = await tracker.pulse(limit());
  expect(report).toMatchObject({ pages: 3, changedPages: 2 });
  expect(report.rounds).toBeGreaterThan(4);
  expect(image.readPage(0, 3)).toEqual(Buffer.alloc(PAGE_BYTES, 7));
  qemu.write(section([page(0, 8)]));
  expect(image.readPage(0, 0)).toEqual(Buffer.alloc(PAGE_BYTES, 7));
  expect(await tracker.pulse(limit())).toMatchObject({ pages: 1, changedPages: 1 });
});

test('a ping is answered, and shut is said', async () => {
  const { tracker, qemu } = connect();
  const command = Buffer.from([SECTION.command, 0, 2, 0, 4]);
  qemu.write(Buffer.concat([prologue(), command, u32(77)]));
  using _spinning = spin(qemu);
  await tracker.pulse(limit());
  tracker.shut();
  const wanted = Buffer.concat([encodePong(77), encodeShut()]);
  await expect.poll(() => qemu.readableLength).toBe(wanted.length);
  expect(qemu.read()).toEqual(wanted);
});

test('draining goes on until finish has all', async () => {
  const { tracker, qemu, image } = connect();
  qemu.write(prologue());
  const seen: number[] = [];
  {
    using _spinning = spin(qemu);
    const onRound = ({ isFresh, bytes }: { isFresh: boolean; bytes: number }) => {
      if (isFresh) seen.push(bytes);
      return seen.length === 3 ? ('enough' as const) : undefined;
    };
    await tracker.drain(onRound, limit());
  }
  qemu.write(section([page(2, 5)], true));
  qemu.end(Buffer.concat([STATE, Buffer.from('{}')]));
  // All of it is there before anybody asks.
  await expect.poll(() => image.readPage(0, 2)[0]).toBe(5);
  const end = await tracker.finish(limit());
  expect(end.ramSectionId).toBe(RAM_ID);
  expect(end.prologue).toEqual(prologue());
  expect(end.deviceState).toEqual(Buffer.concat([STATE, Buffer.from('{}')]));
  expect(seen).toEqual([18, 18, 18]);
});

test('a cancelled pulse can be followed by another; two at once cannot be', async () => {
  const { tracker, qemu } = connect();
  qemu.write(prologue());
  const gone = new AbortController();
  const pulse = tracker.pulse(gone.signal);
  await expect(tracker.pulse(limit())).rejects.toThrow('already');
  gone.abort(new Error('not now'));
  await expect(pulse).rejects.toThrow('not now');
  using _spinning = spin(qemu);
  await tracker.pulse(limit());
});

test.each<[string, (qemu: Duplex) => void, RegExp]>([
  ['QEMU ends', (qemu) => qemu.end(), /QEMU closed it/],
  ['what comes is no stream', (qemu) => qemu.write('GET / HTTP/1.1\r\n'), /does not begin/],
])('%s: every reading is told, at once and later', async (_what, happen, why) => {
  const { tracker, qemu } = connect();
  const pulse = tracker.pulse(limit());
  happen(qemu);
  await expect(pulse).rejects.toThrow(why);
  const later = tracker.finish(limit());
  await expect(later).rejects.toThrow(MigrationStreamError);
  await expect(later).rejects.toThrow(why);
});
