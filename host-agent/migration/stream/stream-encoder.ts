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

/** One `ram` section with these runs; `isLast`: after it comes the device state. */
export function encodeRamSection(
  ramSectionId: number,
  { runs, isLast }: { readonly runs: readonly PageRun[]; readonly isLast: boolean },
): Buffer {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(ramSectionId);
  return Buffer.concat([
    Buffer.from([isLast ? SECTION.end : SECTION.part]),
    id,
    ...runs.flatMap((run) => encodeRun(run)),
    encodeHead(0, RAM.endOfRound),
    Buffer.from([SECTION.footer]),
    id,
  ]);
}

function encodeRun({ block, offset, content }: PageRun): Buffer[] {
  const isData = Buffer.isBuffer(content);
  const pages = isData ? content.length / PAGE_BYTES : content.zeroPages;
  const name = Buffer.from(block, 'latin1');
  const parts: Buffer[] = [];
  for (let page = 0; page < pages; page += 1) {
    const same = page === 0 ? 0 : RAM.sameBlock;
    parts.push(encodeHead(offset + page * PAGE_BYTES, (isData ? RAM.page : RAM.zero) | same));
    if (page === 0) parts.push(Buffer.from([name.length]), name);
    const at = page * PAGE_BYTES;
    parts.push(isData ? content.subarray(at, at + PAGE_BYTES) : Buffer.from([0]));
  }
  return parts;
}

function encodeHead(offset: number, flags: number): Buffer {
  const head = Buffer.alloc(8);
  head.writeBigUInt64BE(BigInt(offset) | BigInt(flags));
  return head;
}
