/**
 * Speaks a QEMU migration stream to a target, from memory that the agent holds:
 *
 *   prologue (as the source's QEMU sent it) → part of pages, as often as there are any → last part,
 *   device state (as it came)
 *
 * Every part names its block anew, so parts may be made in any order and thrown away. Pure: the
 * caller writes what it gets, with back-pressure.
 */
import { PAGE_BYTES, RAM, SECTION } from './stream-format.ts';

export interface PageRun {
  readonly block: string;
  /** Of the first page, in the block. */
  readonly offset: number;
  /** Whole pages, or how many pages are zero. */
  readonly content: Buffer | { readonly zeroPages: number };
}

const HEAD_BYTES = 8;
/** The section's type and id, the end of its round, and its footer with the id. */
const SECTION_BYTES = 1 + 4 + HEAD_BYTES + 1 + 4;

/**
 * One `ram` section with these runs; `isLast`: after it comes the device state. A part of `space` where
 * it is large enough: a target feeds a guest's every page by it, and memory of its own each time would
 * cost more than the copying.
 */
export function encodeRamSection(
  ramSectionId: number,
  { runs, isLast }: { readonly runs: readonly PageRun[]; readonly isLast: boolean },
  space?: Buffer,
): Buffer {
  const length = runs.reduce((sum, run) => sum + lengthOf(run), SECTION_BYTES);
  const bytes =
    space !== undefined && space.length >= length
      ? space.subarray(0, length)
      : Buffer.allocUnsafe(length);
  bytes[0] = isLast ? SECTION.end : SECTION.part;
  let at = bytes.writeUInt32BE(ramSectionId, 1);
  for (const run of runs) at = writeRun(bytes, { at, run });
  at = writeHead(bytes, { at, address: 0, flags: RAM.endOfRound });
  bytes[at] = SECTION.footer;
  bytes.writeUInt32BE(ramSectionId, at + 1);
  return bytes;
}

function pagesOf({ content }: PageRun): number {
  return Buffer.isBuffer(content) ? content.length / PAGE_BYTES : content.zeroPages;
}

function lengthOf(run: PageRun): number {
  const pages = pagesOf(run);
  if (pages === 0) return 0;
  const pageBytes = Buffer.isBuffer(run.content) ? PAGE_BYTES : 1;
  return pages * (HEAD_BYTES + pageBytes) + 1 + run.block.length;
}

/** Gives where it ended. */
function writeRun(bytes: Buffer, { at: begin, run }: { at: number; run: PageRun }): number {
  const { block, offset, content } = run;
  const isData = Buffer.isBuffer(content);
  const kind = isData ? RAM.page : RAM.zero;
  let at = begin;
  for (let page = 0; page < pagesOf(run); page += 1) {
    const flags = page === 0 ? kind : kind | RAM.sameBlock;
    at = writeHead(bytes, { at, address: offset + page * PAGE_BYTES, flags });
    if (page === 0) at = writeName(bytes, { at, block });
    if (isData) at += content.copy(bytes, at, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    else bytes[at++] = 0;
  }
  return at;
}

function writeName(bytes: Buffer, { at, block }: { at: number; block: string }): number {
  bytes[at] = block.length;
  return at + 1 + bytes.write(block, at + 1, 'latin1');
}

/** The flags are in the bits that the address of a page leaves. */
function writeHead(
  bytes: Buffer,
  { at, address, flags }: { at: number; address: number; flags: number },
): number {
  const head = address + flags;
  bytes.writeUInt32BE(Math.floor(head / 2 ** 32), at);
  return bytes.writeUInt32BE(head % 2 ** 32, at + 4);
}
