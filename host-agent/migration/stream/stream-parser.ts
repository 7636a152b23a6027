/**
 * Reads a QEMU migration stream as it arrives, in pieces of any size.
 *
 *   header → configuration → commands, ram start → (ram part)* → ram end → device state
 *                                    └ blocks, replayed to a target as they came ┘     (opaque)
 *
 * Invariants: how the input is split changes nothing; nothing is told of a record before the whole
 * of it is there; what is kept between two pieces is smaller than one record; a page always lies in
 * its block. QEMU has been near a hostile guest: whatever does not fit throws MigrationStreamError,
 * and the parser is of no use after that.
 */
import { DeviceState } from './device-state.ts';
import { MigrationStreamError } from './stream-errors.ts';
import {
  COMMAND,
  MAGIC,
  PAGE_BYTES,
  RAM,
  type RamBlock,
  SECTION,
  VERSION,
} from './stream-format.ts';

const MAX_BLOCKS = 64;
/** A whole list of blocks is the longest record; a page is 4,096 and its head. */
const MAX_RECORD_BYTES = 32 * 1024;
const MAX_PROLOGUE_BYTES = 64 * 1024;
const MAX_MACHINE_NAME = 256;
const MISSING = -1;

/** Hears of the stream, in its order. `bytes` of a page are valid during the call only. */
export interface StreamListener {
  /** Once, before the first page. */
  onBlocks(blocks: readonly RamBlock[]): void;
  onPage(block: number, offset: number, bytes: Buffer): void;
  onZeroPage(block: number, offset: number): void;
  /** QEMU has sent all that was dirty when it looked last. */
  onRound(): void;
  /** To be answered with a pong. */
  onPing(value: number): void;
  onCommand(command: number): void;
  /** What follows the last page, as it comes. Valid during the call only. */
  onDeviceState?(piece: Buffer): void;
}

type Place = 'header' | 'section' | 'ram' | 'footer' | 'device-state';

export class StreamParser {
  readonly #listener: StreamListener;
  readonly #deviceState = new DeviceState();
  #place: Place = 'header';
  #carry: Buffer = Buffer.alloc(0);
  #prologue: Buffer[] = [];
  #prologueBytes = 0;
  #blocks: readonly RamBlock[] | undefined;
  #byName = new Map<string, number>();
  #current = MISSING;
  #sectionId = 0;
  #ramId: number | undefined;
  #isLast = false;
  #prologueOpen = true;

  constructor(listener: StreamListener) {
    this.#listener = listener;
  }

  /** All of memory has come and the device state has, to its end. */
  get isComplete(): boolean {
    return this.#deviceState.isComplete;
  }

  /** Header, configuration and the start of `ram`, as QEMU sent them. Empty before it has. */
  get prologue(): Buffer {
    return this.#blocks === undefined ? Buffer.alloc(0) : Buffer.concat(this.#prologue);
  }

  /** The id by which QEMU knows its memory's section; undefined before that began. */
  get ramSectionId(): number | undefined {
    return this.#ramId;
  }

  /** What follows the last page: every device, the end mark, the description. */
  get deviceState(): Buffer {
    return this.#deviceState.bytes();
  }

  /** Throws MigrationStreamError at the first thing that cannot be. */
  push(piece: Buffer): void {
    let at = 0;
    while (this.#carry.length > 0 && at < piece.length) at = this.#complete(piece, at);
    at = this.#run(piece, at);
    if (at === piece.length) return;
    if (piece.length - at > MAX_RECORD_BYTES) throw broken('a record is too long');
    this.#carry = Buffer.from(piece.subarray(at));
  }

  /** Ends the record that the last piece broke off; gives where the next one begins in `piece`. */
  #complete(piece: Buffer, from: number): number {
    const before = this.#carry.length;
    const taken = Math.min(piece.length - from, MAX_RECORD_BYTES - before);
    const joined = Buffer.concat([this.#carry, piece.subarray(from, from + taken)]);
    const used = this.#step(joined, 0);
    if (used === MISSING) {
      if (joined.length >= MAX_RECORD_BYTES) throw broken('a record is too long');
      this.#carry = joined;
      return from + taken;
    }
    // What is left of a record that ended inside the carry stays there.
    this.#carry = used < before ? joined.subarray(used, before) : Buffer.alloc(0);
    return used < before ? from : from + used - before;
  }

  #run(piece: Buffer, from: number): number {
    let at = from;
    while (at < piece.length) {
      const used = this.#step(piece, at);
      if (used === MISSING) break;
      at += used;
    }
    return at;
  }

  /** Takes one record; gives its length, or MISSING when its end has not come. */
  #step(input: Buffer, at: number): number {
    switch (this.#place) {
      case 'ram':
        return this.#ramRecord(input, at);
      case 'header':
        return this.#header(input, at);
      case 'section':
        return this.#section(input, at);
      case 'footer':
        return this.#footer(input, at);
      case 'device-state':
        this.#deviceState.push(input.subarray(at));
        this.#listener.onDeviceState?.(input.subarray(at));
        return input.length - at;
    }
  }

  #header(input: Buffer, at: number): number {
    if (input.length - at < 8) return MISSING;
    if (input.readUInt32BE(at) !== MAGIC) throw broken('it does not begin as a QEMU stream does');
    const version = input.readUInt32BE(at + 4);
    if (version !== VERSION) throw broken(`its version is ${version}`);
    this.#place = 'section';
    return this.#keep(input, at, 8);
  }

  #section(input: Buffer, at: number): number {
    const type = input[at];
    switch (type) {
      case SECTION.configuration:
        return this.#configuration(input, at);
      case SECTION.command:
        return this.#command(input, at);
      case SECTION.start:
        return this.#start(input, at);
      case SECTION.part:
      case SECTION.end:
        return this.#continue(input, at, type === SECTION.end);
      default:
        throw broken(`a section of type ${type} stands before the end of memory`);
    }
  }

  #configuration(input: Buffer, at: number): number {
    if (input.length - at < 5) return MISSING;
    const length = input.readUInt32BE(at + 1);
    if (length > MAX_MACHINE_NAME) throw broken('its machine has too long a name');
    if (input.length - at < 5 + length) return MISSING;
    return this.#keep(input, at, 5 + length);
  }

  #command(input: Buffer, at: number): number {
    if (input.length - at < 5) return MISSING;
    const command = input.readUInt16BE(at + 1);
    const length = input.readUInt16BE(at + 3);
    if (length > MAX_RECORD_BYTES - 5) throw broken('a command is too long');
    if (input.length - at < 5 + length) return MISSING;
    if (command === COMMAND.ping) {
      if (length !== 4) throw broken('a ping has no number');
      this.#listener.onPing(input.readUInt32BE(at + 5));
    } else this.#listener.onCommand(command);
    return 5 + length;
  }

  #start(input: Buffer, at: number): number {
    const nameLength = input[at + 5];
    if (nameLength === undefined || input.length - at < 14 + nameLength) return MISSING;
    const name = input.toString('latin1', at + 6, at + 6 + nameLength);
    if (name !== 'ram') throw broken(`device ${JSON.stringify(name)} sends in rounds`);
    if (this.#ramId !== undefined) throw broken('memory begins twice');
    this.#ramId = input.readUInt32BE(at + 1);
    return this.#enter(this.#ramId, this.#keep(input, at, 14 + nameLength));
  }

  #continue(input: Buffer, at: number, isLast: boolean): number {
    if (input.length - at < 5) return MISSING;
    const id = input.readUInt32BE(at + 1);
    if (id !== this.#ramId || this.#blocks === undefined) throw broken(`section ${id} never began`);
    this.#isLast = isLast;
    return this.#enter(id, 5);
  }

  #enter(id: number, used: number): number {
    this.#sectionId = id;
    this.#place = 'ram';
    return used;
  }

  #footer(input: Buffer, at: number): number {
    if (input.length - at < 5) return MISSING;
    if (input[at] !== SECTION.footer || input.readUInt32BE(at + 1) !== this.#sectionId) {
      throw broken('a section does not end where it should');
    }
    // The first section is the start of memory: what a target has to be told first ends with it.
    if (this.#prologueOpen) this.#keep(input, at, 5);
    this.#prologueOpen = false;
    this.#place = this.#isLast ? 'device-state' : 'section';
    return 5;
  }

  #ramRecord(input: Buffer, at: number): number {
    if (input.length - at < 8) return MISSING;
    const high = input.readUInt32BE(at);
    const low = input.readUInt32BE(at + 4);
    const flags = low & (PAGE_BYTES - 1);
    const kind = flags & ~RAM.sameBlock;
    const offset = high * 0x1_0000_0000 + (low - flags);
    if (kind === RAM.page || kind === RAM.zero) {
      return this.#pageRecord(input, at, { offset, kind, isSame: (flags & RAM.sameBlock) !== 0 });
    }
    if (kind === RAM.memorySize) return this.#blockList(input, at, offset);
    if (kind === RAM.endOfRound) return this.#endOfRound(input, at);
    if (kind === RAM.multifdFlush) return 8;
    throw broken(`a memory record has flags 0x${flags.toString(16)}`);
  }

  #pageRecord(
    input: Buffer,
    at: number,
    page: { readonly offset: number; readonly kind: number; readonly isSame: boolean },
  ): number {
    const nameLength = page.isSame ? 0 : 1 + (input[at + 8] ?? 0);
    const body = at + 8 + nameLength;
    const length = page.kind === RAM.page ? PAGE_BYTES : 1;
    // Without the name's length byte itself, `body` is too small by at most 255: still missing.
    if (input.length < body + length) return MISSING;
    if (!page.isSame) this.#current = this.#blockNamed(input.toString('latin1', at + 9, body));
    const block = this.#blocks?.[this.#current];
    if (block === undefined) throw broken('a page belongs to no block');
    if (page.offset + PAGE_BYTES > block.sizeBytes) throw broken(`a page is beyond ${block.name}`);
    if (page.kind === RAM.page) {
      this.#listener.onPage(this.#current, page.offset, input.subarray(body, body + PAGE_BYTES));
    } else {
      if (input[body] !== 0) throw broken('a page is filled with something but zero');
      this.#listener.onZeroPage(this.#current, page.offset);
    }
    return body + length - at;
  }

  #blockNamed(name: string): number {
    const index = this.#byName.get(name);
    if (index === undefined) throw broken(`block ${JSON.stringify(name)} was never listed`);
    return index;
  }

  #blockList(input: Buffer, at: number, totalBytes: number): number {
    if (this.#blocks !== undefined) throw broken('blocks are listed twice');
    const blocks: RamBlock[] = [];
    let left = totalBytes;
    let end = at + 8;
    while (left > 0) {
      const nameLength = input[end];
      if (nameLength === undefined || input.length < end + 9 + nameLength) return MISSING;
      const name = input.toString('latin1', end + 1, end + 1 + nameLength);
      const sizeBytes = Number(input.readBigUInt64BE(end + 1 + nameLength));
      if (sizeBytes === 0 || sizeBytes > left) throw broken('block sizes do not add up');
      if (blocks.length === MAX_BLOCKS) throw broken('there are too many blocks');
      blocks.push({ name, sizeBytes });
      left -= sizeBytes;
      end += 9 + nameLength;
    }
    this.#blocks = blocks;
    this.#byName = new Map(blocks.map(({ name }, index) => [name, index]));
    if (this.#byName.size !== blocks.length) throw broken('two blocks have one name');
    this.#keep(input, at, end - at);
    this.#listener.onBlocks(blocks);
    return end - at;
  }

  #endOfRound(input: Buffer, at: number): number {
    if (this.#prologueOpen) this.#keep(input, at, 8);
    else this.#listener.onRound();
    this.#place = 'footer';
    return 8;
  }

  /** Remembers a part of the prologue; gives its length. */
  #keep(input: Buffer, at: number, length: number): number {
    this.#prologueBytes += length;
    if (this.#prologueBytes > MAX_PROLOGUE_BYTES) throw broken('its beginning is too long');
    this.#prologue.push(Buffer.from(input.subarray(at, at + length)));
    return length;
  }
}

function broken(why: string): MigrationStreamError {
  return new MigrationStreamError(`QEMU's migration stream cannot be read: ${why}.`);
}
