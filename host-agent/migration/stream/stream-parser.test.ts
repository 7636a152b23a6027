import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeRamSection, type PageRun } from './stream-encoder.ts';
import { MigrationStreamError } from './stream-errors.ts';
import { MAGIC, PAGE_BYTES, RAM, type RamBlock, SECTION } from './stream-format.ts';
import { StreamParser } from './stream-parser.ts';

const RAM_ID = 2;
const BLOCKS: readonly RamBlock[] = [
  { name: 'm0', sizeBytes: 16 * PAGE_BYTES },
  { name: 'pc.bios', sizeBytes: 2 * PAGE_BYTES },
];
const STATE = Buffer.concat([
  Buffer.from([SECTION.full, 1, 2, 3]),
  describeDevices('{"devices": []}'),
]);

function describeDevices(text: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, SECTION.description]),
    u32(text.length),
    Buffer.from(text),
  ]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function named(name: string): Buffer {
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name)]);
}

function prologue(blocks = BLOCKS): Buffer {
  const total = blocks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return Buffer.concat([
    ...[u32(MAGIC), u32(3), Buffer.from([SECTION.configuration]), u32(4), Buffer.from('q35x')],
    ...[Buffer.from([SECTION.start]), u32(RAM_ID), named('ram'), u32(0), u32(4)],
    u64(total | RAM.memorySize),
    ...blocks.flatMap(({ name, sizeBytes }) => [named(name), u64(sizeBytes)]),
    ...[u64(RAM.endOfRound), Buffer.from([SECTION.footer]), u32(RAM_ID)],
  ]);
}

function ping(value: number): Buffer {
  return Buffer.concat([Buffer.from([SECTION.command, 0, 2, 0, 4]), u32(value)]);
}

/** All that a parser says of these pieces, and the memory that it describes. */
function read(pieces: readonly Buffer[]) {
  const memory = BLOCKS.map(({ sizeBytes }) => Buffer.alloc(sizeBytes, 0xee));
  const events: unknown[] = [];
  const parser = new StreamParser({
    onBlocks: (blocks) => events.push(blocks),
    onPage: (block, offset, bytes) => bytes.copy(memory[block] ?? Buffer.alloc(0), offset),
    onZeroPage: (block, offset) => memory[block]?.fill(0, offset, offset + PAGE_BYTES),
    onRound: () => events.push('round'),
    onPing: (value) => events.push(value),
    onCommand: (command) => events.push({ command }),
  });
  for (const piece of pieces) parser.push(piece);
  return { memory, events, parser };
}

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

const anyRun: fc.Arbitrary<PageRun> = fc
  .record({
    block: fc.constantFrom(...BLOCKS),
    first: fc.nat({ max: 15 }),
    pages: fc.integer({ min: 1, max: 4 }),
    fill: fc.integer({ min: 0, max: 255 }),
    isZero: fc.boolean(),
  })
  .map(({ block, first, pages, fill, isZero }) => {
    const offset = (first * PAGE_BYTES) % block.sizeBytes;
    const count = Math.min(pages, (block.sizeBytes - offset) / PAGE_BYTES);
    const content = isZero ? { zeroPages: count } : Buffer.alloc(count * PAGE_BYTES, fill);
    return { block: block.name, offset, content };
  });

function streamOf(parts: readonly (readonly PageRun[])[]): Buffer {
  const sections = parts.map((runs, index) =>
    encodeRamSection(RAM_ID, { runs, isLast: index === parts.length - 1 }),
  );
  return Buffer.concat([prologue(), ping(7), ...sections, STATE]);
}

test('property: any split of a stream gives the same memory, events and device state', () => {
  const parts = fc.array(fc.array(anyRun, { maxLength: 4 }), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(parts, fc.array(fc.nat(), { maxLength: 60 }), (runs, cuts) => {
      const bytes = streamOf(runs);
      const whole = read([bytes]);
      const cut = read(split(bytes, cuts));
      expect(cut.events).toEqual(whole.events);
      expect(cut.memory).toEqual(whole.memory);
      expect(cut.parser.isComplete).toBe(true);
      expect(cut.parser.deviceState).toEqual(STATE);
      expect(cut.parser.prologue).toEqual(prologue());
    }),
  );
});

test('property: memory is what the runs say, the last word on a page counting', () => {
  fc.assert(
    fc.property(fc.array(anyRun, { maxLength: 8 }), (runs) => {
      const wanted = BLOCKS.map(({ sizeBytes }) => Buffer.alloc(sizeBytes, 0xee));
      for (const { block, offset, content } of runs) {
        const bytes = Buffer.isBuffer(content)
          ? content
          : Buffer.alloc(content.zeroPages * PAGE_BYTES);
        bytes.copy(wanted[BLOCKS.findIndex(({ name }) => name === block)] ?? bytes, offset);
      }
      expect(read([streamOf([runs])]).memory).toEqual(wanted);
    }),
  );
});

test('one byte at a time is as good as all at once', () => {
  const bytes = streamOf([[{ block: 'm0', offset: 0, content: Buffer.alloc(PAGE_BYTES, 5) }]]);
  const { memory, parser } = read([...bytes].map((byte) => Buffer.from([byte])));
  expect(memory[0]?.subarray(0, PAGE_BYTES)).toEqual(Buffer.alloc(PAGE_BYTES, 5));
  expect(parser.isComplete).toBe(true);
});

test('blocks, pings and rounds are told in their order', () => {
  expect(read([streamOf([[], []])]).events).toEqual([BLOCKS, 7, 'round', 'round']);
});

test('a stream that has not ended is not complete, whatever its last byte', () => {
  const bytes = streamOf([[]]);
  for (let missing = 1; missing < STATE.length; missing += 1) {
    expect(read([bytes.subarray(0, bytes.length - missing)]).parser.isComplete).toBe(false);
  }
});

function page(
  offset: number,
  { flags = RAM.page, name = 'm0' }: { flags?: number; name?: string },
) {
  const named_ = Buffer.concat([u64(offset | flags), named(name), Buffer.alloc(PAGE_BYTES)]);
  return Buffer.concat([Buffer.from([SECTION.part]), u32(RAM_ID), named_]);
}

describe('refuses', () => {
  test.each<[string, Buffer, RegExp]>([
    ['another beginning', Buffer.from('GET / HTTP/1.1\r\n'), /begin/],
    ['another version', Buffer.concat([u32(MAGIC), u32(2)]), /version is 2/],
    ['a page beyond its block', join(page(16 * PAGE_BYTES, {})), /beyond m0/],
    ['a page of a block that was not listed', join(page(0, { name: 'm9' })), /never listed/],
    ['a page of no block', join(page(0, { flags: RAM.page | RAM.sameBlock })), /no block/],
    ['flags that are not ours', join(page(0, { flags: 0x40 })), /flags 0x40/],
    ['a section that never began', join(Buffer.from([SECTION.part, 0, 0, 0, 9])), /never began/],
    ['a device that sends in rounds', join(Buffer.from([SECTION.full])), /type 4/],
    ['blocks that do not add up', prologue([{ name: 'm0', sizeBytes: 0 }]), /./],
    ['two blocks of one name', prologue([...BLOCKS, ...BLOCKS]), /one name/],
    ['a machine name without end', namelessMachine(), /long a name/],
  ])('%s', (_what, bytes, why) => {
    const reading = () => read([bytes, bytes]);
    expect(reading).toThrow(MigrationStreamError);
    expect(reading).toThrow(why);
  });

  test('what comes after the end', () => {
    expect(() => read([streamOf([[]]), Buffer.from([1])])).toThrow(/after its end/);
  });
});

function join(rest: Buffer): Buffer {
  return Buffer.concat([prologue(), rest]);
}

function namelessMachine(): Buffer {
  return Buffer.concat([u32(MAGIC), u32(3), Buffer.from([SECTION.configuration]), u32(0xffffffff)]);
}

test('property: bytes of chance throw one kind of error, or wait for more', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
      try {
        read([join(Buffer.from(noise))]);
      } catch (error) {
        expect(error).toBeInstanceOf(MigrationStreamError);
      }
    }),
  );
});
