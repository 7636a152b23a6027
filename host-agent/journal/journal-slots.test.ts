import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeSlot, encodeSlots, readSlots, SLOT_BYTES, slotOffset } from './journal-slots.ts';

const anyText = fc.json().map((json) => JSON.stringify(JSON.parse(json)));

function fileOf(texts: readonly string[]): Buffer {
  const file = Buffer.alloc(2 * SLOT_BYTES, '\n');
  for (const [at, text] of texts.entries()) {
    const sequence = at + 1;
    encodeSlot({ sequence, text })?.copy(file, slotOffset(sequence));
  }
  return file;
}

test('the last entry is read, however many were written over each other', () => {
  fc.assert(
    fc.property(fc.array(anyText, { minLength: 1, maxLength: 9 }), (texts) => {
      const last = { sequence: texts.length, text: texts.at(-1) };
      expect(readSlots(fileOf(texts))).toEqual(last);
    }),
  );
});

test('a write that was cut off anywhere leaves the word before it', () => {
  const cut = fc.record({
    texts: fc.array(anyText, { minLength: 1, maxLength: 5 }),
    next: fc.string({ minLength: 1 }).map((text) => JSON.stringify(text)),
    part: fc.double({ min: 0, max: 0.999, noNaN: true }),
  });
  fc.assert(
    fc.property(cut, ({ texts, next, part }) => {
      const file = fileOf(texts);
      const sequence = texts.length + 1;
      const bytes = encodeSlot({ sequence, text: next }) ?? Buffer.alloc(0);
      const whole = Buffer.from(file);
      bytes.copy(whole, slotOffset(sequence));
      bytes.copy(file, slotOffset(sequence), 0, Math.floor(part * bytes.length));
      // What was there may be what the cut took away.
      const isWhole = file.equals(whole);
      const before = { sequence: texts.length, text: texts.at(-1) };
      expect(readSlots(file)).toEqual(isWhole ? { sequence, text: next } : before);
    }),
  );
});

test('a whole file has one entry', () => {
  const entry = { sequence: 1, text: '{}' };
  expect(readSlots(encodeSlots(entry) ?? Buffer.alloc(0))).toEqual(entry);
});

test('what is too long for a slot is not encoded', () => {
  const entry = { sequence: 1, text: 'x'.repeat(SLOT_BYTES) };
  expect([encodeSlot(entry), encodeSlots(entry)]).toEqual([undefined, undefined]);
});

test.each(['', '{"format":2}', 'x\ny\n', '{"sequence":0}\n{}\n'])('%j has no entry', (text) => {
  expect(readSlots(Buffer.from(text))).toBeUndefined();
});
