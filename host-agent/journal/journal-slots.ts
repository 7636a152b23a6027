/**
 * A journal's file: two slots, of which each write replaces the older one in place.
 *
 *   slot 0: {"sequence":4,"sha256":"…"} ⏎ text ⏎ …      slot 1: {"sequence":3,"sha256":"…"} ⏎ text ⏎ …
 *
 * So a write changes nothing but content: no name, no length, no block, and is on disk after one flush
 * of the disk, where a new file takes three. One that was cut off leaves the other slot, which is the
 * word before. Pure.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';

/** Several times a journal's length, and whole blocks: no block is in both slots. */
export const SLOT_BYTES = 16 * 1024;
const SLOTS = 2;
const NEWLINE = 0x0a;

export interface SlotEntry {
  /** Of two entries the higher one counts. */
  readonly sequence: number;
  /** On one line. */
  readonly text: string;
}

const Head = z.object({ sequence: z.int().min(1), sha256: z.string().length(64) });

/** The next entry goes where the one before it is not. */
export function slotOffset(sequence: number): number {
  return (sequence % SLOTS) * SLOT_BYTES;
}

/** What is to be written at `slotOffset`; undefined: it is too long for a slot. */
export function encodeSlot(entry: SlotEntry): Buffer | undefined {
  const head = JSON.stringify({ sequence: entry.sequence, sha256: digestOf(entry) });
  const bytes = Buffer.from(`${head}\n${entry.text}\n`);
  return bytes.length > SLOT_BYTES ? undefined : bytes;
}

/** A whole file with this entry alone. */
export function encodeSlots(entry: SlotEntry): Buffer | undefined {
  const bytes = encodeSlot(entry);
  const file = Buffer.alloc(SLOTS * SLOT_BYTES, NEWLINE);
  bytes?.copy(file, slotOffset(entry.sequence));
  return bytes === undefined ? undefined : file;
}

/** The last entry that is whole; undefined: the file has none, and may be of another kind. */
export function readSlots(file: Buffer): SlotEntry | undefined {
  const entries = Array.from({ length: SLOTS }, (_, slot) =>
    readSlot(file.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES)),
  );
  return entries
    .filter((entry) => entry !== undefined)
    .toSorted((a, b) => b.sequence - a.sequence)[0];
}

function readSlot(slot: Buffer): SlotEntry | undefined {
  const headEnd = slot.indexOf(NEWLINE);
  const textEnd = slot.indexOf(NEWLINE, headEnd + 1);
  if (headEnd < 1 || textEnd < 0) return undefined;
  const head = Head.safeParse(parse(slot.toString('utf8', 0, headEnd))).data;
  if (head === undefined) return undefined;
  const entry = { sequence: head.sequence, text: slot.toString('utf8', headEnd + 1, textEnd) };
  return digestOf(entry) === head.sha256 ? entry : undefined;
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function digestOf({ sequence, text }: SlotEntry): string {
  return createHash('sha256').update(`${sequence}\n${text}`).digest('hex');
}
