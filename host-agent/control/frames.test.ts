import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeAgentFrame, parseControlFrame } from './frames.ts';

function parse(value: unknown) {
  return parseControlFrame(Buffer.from(JSON.stringify(value)), false);
}

test('a frame of the protocol parses', () => {
  expect(parse({ type: 'turned-away', why: 'no' })).toEqual({
    kind: 'frame',
    frame: { type: 'turned-away', why: 'no' },
  });
});

test.each([
  ['another type', { type: 'shutdown' }],
  ['a missing part', { type: 'request', requestId: 'a' }],
  ['a wrong id', { type: 'request', requestId: 'a', request: { kind: 'stop-vm', vmId: '../etc' } }],
  ['no object', 7],
])('%s is malformed', (_name, value) => {
  expect(parse(value).kind).toBe('malformed');
});

test('what is malformed never quotes the content', () => {
  const bad = { kind: 'assign-job', vmId: 'vm-1', jobId: 'x', jitConfig: 'c2VjcmV0' };
  const parsed = parse({ type: 'request', requestId: 'a', request: bad });
  expect(parsed).toMatchObject({ kind: 'malformed', what: 'wrong at request.jobId' });
});

test('no bytes throw', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.boolean(), (bytes, isBinary) => {
      expect(parseControlFrame(Buffer.from(bytes), isBinary).kind).toBe('malformed');
    }),
  );
});

test('a frame beyond the limit is not encoded', () => {
  const why = 'x'.repeat(2_000_000);
  const outcome = { kind: 'refused', why } as const;
  expect(encodeAgentFrame({ type: 'result', requestId: 'a', outcome })).toBeUndefined();
});
