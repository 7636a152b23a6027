/** How fast one thread reads a migration stream into a memory image: every page another one. */
import { randomBytes } from 'node:crypto';
import { MemoryImage } from '../../../host-agent/migration/image/memory-image.ts';
import { encodeRamSection } from '../../../host-agent/migration/stream/stream-encoder.ts';
import { PAGE_BYTES, RAM, SECTION } from '../../../host-agent/migration/stream/stream-format.ts';
import { StreamParser } from '../../../host-agent/migration/stream/stream-parser.ts';
import type { BenchContext, BenchResult } from '../bench.ts';
import { formatNumber, summarize } from '../statistics.ts';
import type { Row } from './row.ts';

const MIB = 1024 * 1024;
const BLOCK = { name: 'm0', sizeBytes: 256 * MIB };
const RAM_ID = 2;
const PASSES = 8;
/** As a socket gives them. */
const PIECE_BYTES = 64 * 1024;
const TARGET_BYTES_PER_S = 1e9;

export const parseRow: Row = { name: 'parse', run };

async function run({ signal }: BenchContext): Promise<BenchResult> {
  const image = new MemoryImage({ blocks: [BLOCK], base: undefined });
  image.watch({ everything: false });
  const parser = new StreamParser({
    onBlocks: () => {},
    onPage: (block, offset, bytes) => image.putPage(block, offset, bytes),
    onZeroPage: (block, offset) => image.putZero(block, offset),
    onRound: () => {},
    onPing: () => {},
    onCommand: () => {},
  });
  parser.push(prologue());
  const rates: number[] = [];
  for (let pass = 0; pass < PASSES; pass += 1) {
    signal.throwIfAborted();
    rates.push(pushAll(parser, makePass()));
    await new Promise(setImmediate);
  }
  // The first pass allocates the image.
  return describe(rates.slice(1));
}

/** Gives bytes a second. */
function pushAll(parser: StreamParser, stream: Buffer): number {
  const begunMs = performance.now();
  for (let at = 0; at < stream.length; at += PIECE_BYTES) {
    parser.push(stream.subarray(at, at + PIECE_BYTES));
  }
  return stream.length / ((performance.now() - begunMs) / 1_000);
}

/** All pages of the block once, none as it was the last time. */
function makePass(): Buffer {
  const content = Buffer.alloc(BLOCK.sizeBytes);
  const noise = randomBytes(MIB);
  for (let at = 0; at < content.length; at += MIB) noise.copy(content, at);
  return encodeRamSection(RAM_ID, {
    runs: [{ block: BLOCK.name, offset: 0, content }],
    isLast: false,
  });
}

function prologue(): Buffer {
  const name = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
  return Buffer.concat([
    ...[Buffer.from('QEVM'), number(3, 4), Buffer.from([SECTION.configuration]), number(1, 4)],
    ...[Buffer.from('q'), Buffer.from([SECTION.start]), number(RAM_ID, 4), name('ram')],
    ...[number(0, 4), number(4, 4), number(BLOCK.sizeBytes + RAM.memorySize, 8)],
    ...[name(BLOCK.name), number(BLOCK.sizeBytes, 8), number(RAM.endOfRound, 8)],
    ...[Buffer.from([SECTION.footer]), number(RAM_ID, 4)],
  ]);
}

function number(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, Math.max(0, bytes - 6), Math.min(bytes, 6));
  return buffer;
}

function describe(rates: readonly number[]): BenchResult {
  const { min, p50, max } = summarize(rates);
  const gb = (rate: number) => formatNumber(rate / 1e9);
  return {
    tables: [
      {
        title: `migration stream into a memory image, ${BLOCK.sizeBytes / MIB} MiB of changed ${PAGE_BYTES}-byte pages a pass, one thread`,
        headings: ['GB/s', 'lowest', 'highest'],
        rows: [[gb(p50), gb(min), gb(max)]],
      },
    ],
    targets: [
      {
        what: 'stream parse and image write, one core',
        wanted: `at least ${TARGET_BYTES_PER_S / 1e9} GB/s`,
        measured: `${gb(p50)} GB/s`,
        met: p50 >= TARGET_BYTES_PER_S,
      },
    ],
    figures: { bytesPerSecond: rates },
  };
}
