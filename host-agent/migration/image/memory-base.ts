/**
 * The template's memory, from which every VM of a pool starts: read once, then shared by all worker
 * threads of the agent. Pages that are zero in the file (its holes are) take no memory.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { PAGE_BYTES } from '../stream/stream-format.ts';
import { MemoryBaseError } from './image-errors.ts';

const SEGMENT_BYTES = 64 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

/** What a worker thread is given: structured cloning shares the memory and copies none of it. */
export interface MemoryBaseShare {
  readonly sizeBytes: number;
  /** A segment that is zero throughout is missing. */
  readonly segments: readonly (SharedArrayBuffer | undefined)[];
  /** One byte a page: 1, it holds something. */
  readonly filled: SharedArrayBuffer;
}

export class MemoryBase {
  readonly share: MemoryBaseShare;
  readonly #segments: readonly (Buffer | undefined)[];
  readonly #filled: Uint8Array;

  constructor(share: MemoryBaseShare) {
    this.share = share;
    this.#segments = share.segments.map((shared) => (shared ? Buffer.from(shared) : undefined));
    this.#filled = new Uint8Array(share.filled);
  }

  /** Reads a template's `memory`. Throws MemoryBaseError when it cannot be read whole. */
  static async open(path: string): Promise<MemoryBase> {
    try {
      await using file = await open(path, 'r');
      const { size } = await file.stat();
      if (size === 0 || size % PAGE_BYTES !== 0) throw new Error(`it has ${size} bytes`);
      return new MemoryBase(await readShare(file, size));
    } catch (cause) {
      throw new MemoryBaseError("The template's memory could not be read.", { cause });
    }
  }

  get sizeBytes(): number {
    return this.share.sizeBytes;
  }

  isZero(page: number): boolean {
    return this.#filled[page] !== 1;
  }

  equals(page: number, bytes: Buffer): boolean {
    const held = this.#held(page);
    if (held === undefined) return ZERO_PAGE.equals(bytes);
    const start = (page * PAGE_BYTES) % SEGMENT_BYTES;
    return held.compare(bytes, 0, PAGE_BYTES, start, start + PAGE_BYTES) === 0;
  }

  /** Not to be written to. Throws RangeError beyond the memory. */
  page(page: number): Buffer {
    if (!(page >= 0 && page * PAGE_BYTES < this.share.sizeBytes)) {
      throw new RangeError(`the template's memory has no page ${page}`);
    }
    const start = (page * PAGE_BYTES) % SEGMENT_BYTES;
    return this.#held(page)?.subarray(start, start + PAGE_BYTES) ?? ZERO_PAGE;
  }

  #held(page: number): Buffer | undefined {
    if (this.#filled[page] !== 1) return undefined;
    return this.#segments[Math.floor((page * PAGE_BYTES) / SEGMENT_BYTES)];
  }
}

async function readShare(file: FileHandle, sizeBytes: number): Promise<MemoryBaseShare> {
  const filled = new SharedArrayBuffer(sizeBytes / PAGE_BYTES);
  const flags = new Uint8Array(filled);
  const segments = new Array<SharedArrayBuffer | undefined>(Math.ceil(sizeBytes / SEGMENT_BYTES));
  const piece = Buffer.alloc(READ_BYTES);
  for (let at = 0; at < sizeBytes; at += READ_BYTES) {
    const length = Math.min(READ_BYTES, sizeBytes - at);
    const { bytesRead } = await file.read(piece, 0, length, at);
    if (bytesRead !== length) throw new Error(`it ends at ${at + bytesRead}`);
    const segment = Math.floor(at / SEGMENT_BYTES);
    for (let offset = 0; offset < length; offset += PAGE_BYTES) {
      if (ZERO_PAGE.compare(piece, offset, offset + PAGE_BYTES) === 0) continue;
      segments[segment] ??= new SharedArrayBuffer(
        Math.min(SEGMENT_BYTES, sizeBytes - segment * SEGMENT_BYTES),
      );
      const target = Buffer.from(segments[segment]);
      piece.copy(target, (at + offset) % SEGMENT_BYTES, offset, offset + PAGE_BYTES);
      flags[(at + offset) / PAGE_BYTES] = 1;
    }
  }
  return { sizeBytes, segments, filled };
}
