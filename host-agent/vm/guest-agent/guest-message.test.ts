import { expect, test } from 'vitest';
import { parseGuestReply, readExecStatus } from './guest-message.ts';

test('what comes before the 0xFF of a synchronisation is dropped', () => {
  const line = Buffer.concat([
    Buffer.from('{"retu'),
    Buffer.from([0xff]),
    Buffer.from('{"return": 7}'),
  ]);
  expect(parseGuestReply(line)).toEqual({ kind: 'answer', value: 7 });
});

test.each(['', 'nonsense', '[]', '42', '{"error": "a text"}', '{"event": "X"}'])(
  'a hostile line %j is no reply',
  (line) => {
    expect(parseGuestReply(Buffer.from(line))).toBeUndefined();
  },
);

test('an error is bounded, however long the guest makes it', () => {
  const line = JSON.stringify({ error: { class: 'GenericError', desc: 'x'.repeat(10_000) } });
  const reply = parseGuestReply(Buffer.from(line));
  expect(reply?.kind === 'failure' ? reply.text.length : 0).toBe(500);
});

test('a program that runs has no result; one that ended has its output', () => {
  expect(readExecStatus({ exited: false })).toBeUndefined();
  expect(readExecStatus({ exited: true, exitcode: 3, 'err-data': 'bm8=' })).toEqual({
    exitCode: 3,
    stdout: '',
    stderr: 'no',
  });
  expect(readExecStatus({ exited: true, signal: 9 })?.exitCode).toBeUndefined();
});
