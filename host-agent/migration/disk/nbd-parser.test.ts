import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CLUSTER_BYTES } from './cluster.ts';
import { NbdProtocolError } from './disk-errors.ts';
import { COMMAND, MAX_PAYLOAD_BYTES, OPTION, OPTION_MAGIC, REQUEST_MAGIC } from './nbd-format.ts';
import { NbdParser } from './nbd-parser.ts';

const SIZE_BYTES = 8 * CLUSTER_BYTES;
const FLAGS = Buffer.from([0, 0, 0, 3]);
/** No name, and one kind of information: block sizes. */
const GO = encodeOption(OPTION.go, Buffer.from([0, 0, 0, 0, 0, 1, 0, 3]));

function encodeOption(option: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(OPTION_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

function encodeRequest(command: number, length: number, payload = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(REQUEST_MAGIC, 0);
  head.writeUInt16BE(command, 6);
  head.writeBigUInt64BE(77n, 8);
  head.writeUInt32BE(length, 24);
  return Buffer.concat([head, payload]);
}

/** All that is sent, as one, and the requests. */
function read(pieces: readonly Buffer[], sizeBytes = SIZE_BYTES) {
  const parser = new NbdParser(sizeBytes);
  const steps = pieces.flatMap((piece) => parser.push(piece));
  const sent = Buffer.concat(steps.flatMap((step) => (step.kind === 'send' ? [step.bytes] : [])));
  const requests = steps.flatMap((step) => (step.kind === 'request' ? [step.request] : []));
  return { sent, requests, isEnded: steps.some(({ kind }) => kind === 'end') };
}

/** Type and body of each reply to an option. */
function replies(sent: Buffer): { type: number; body: Buffer }[] {
  const found = [];
  for (let at = 0; at < sent.length; ) {
    const length = sent.readUInt32BE(at + 16);
    const body = sent.subarray(at + 20, at + 20 + length);
    found.push({ type: sent.readUInt32BE(at + 12), body });
    at += 20 + length;
  }
  return found;
}

test('property: any split gives the same answers and requests', () => {
  const request = fc.oneof(
    fc.nat({ max: 300 }).map((n) => encodeRequest(COMMAND.write, n, Buffer.alloc(n, n))),
    fc.constantFrom(COMMAND.read, COMMAND.zero, 99).map((command) => encodeRequest(command, 8)),
  );
  const option = fc.constantFrom(OPTION.list, OPTION.info, 8, 11).map((at) => encodeOption(at));
  const input = fc.tuple(fc.array(option, { maxLength: 4 }), fc.array(request, { maxLength: 6 }));
  fc.assert(
    fc.property(input, fc.array(fc.nat(), { maxLength: 40 }), ([options, requests], cuts) => {
      const bytes = Buffer.concat([FLAGS, ...options, GO, ...requests]);
      const ends = [...cuts.map((cut) => cut % bytes.length), bytes.length].toSorted(
        (a, b) => a - b,
      );
      const pieces = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
      const whole = read([bytes]);
      expect(read(pieces)).toEqual(whole);
      expect(whole.requests).toHaveLength(requests.length);
    }),
  );
});

test('a client learns size and block sizes, and may begin', () => {
  const [exported, sizes, ack] = replies(read([FLAGS, GO]).sent);
  expect(exported).toMatchObject({ type: 3 });
  expect(exported?.body.readBigUInt64BE(2)).toBe(BigInt(SIZE_BYTES));
  expect([2, 6, 10].map((at) => sizes?.body.readUInt32BE(at))).toEqual([
    CLUSTER_BYTES,
    CLUSTER_BYTES,
    MAX_PAYLOAD_BYTES,
  ]);
  expect(ack).toMatchObject({ type: 1 });
});

test('a disk with a short last cluster has smaller blocks, that its size is a multiple of', () => {
  const [, sizes] = replies(read([FLAGS, GO], 3 * CLUSTER_BYTES + 1024).sent);
  expect(sizes?.body.readUInt32BE(2)).toBe(1024);
});

test.each<[string, Buffer, number]>([
  ['structured replies', encodeOption(8), 0x80000001],
  ['extended headers', encodeOption(11), 0x80000001],
  ['TLS', encodeOption(5), 0x80000001],
  ['another name', encodeOption(OPTION.go, Buffer.from('\0\0\0\x01x\0\0')), 0x80000006],
  ['a name beyond the end', encodeOption(OPTION.go, Buffer.from('\0\0\x01\0x\0\0')), 0x80000003],
  ['half a question', encodeOption(OPTION.info, Buffer.from('\0\0')), 0x80000003],
  ['a list of something', encodeOption(OPTION.list, Buffer.from('x')), 0x80000003],
])('%s is refused, and the client may go on', (_what, option, type) => {
  const { sent, requests } = read([FLAGS, option, GO, encodeRequest(COMMAND.flush, 0)]);
  expect(replies(sent).map((reply) => reply.type)).toEqual([type, 3, 3, 1]);
  expect(requests).toHaveLength(1);
});

test('the one export has the empty name', () => {
  const [server, ack] = replies(read([FLAGS, encodeOption(OPTION.list)]).sent);
  expect(server).toEqual({ type: 2, body: Buffer.alloc(4) });
  expect(ack?.type).toBe(1);
});

test.each([
  [1, 134],
  [3, 10],
])('the old way with flags %s is answered with %s bytes', (flags, length) => {
  const client = Buffer.from([0, 0, 0, flags]);
  const { sent, requests } = read([client, encodeOption(1), encodeRequest(COMMAND.flush, 0)]);
  expect(sent).toHaveLength(length);
  expect(sent.readBigUInt64BE(0)).toBe(BigInt(SIZE_BYTES));
  expect(requests).toHaveLength(1);
});

test.each<[string, Buffer]>([
  ['an abort', encodeOption(OPTION.abort)],
  ['the old way with another name', encodeOption(OPTION.exportName, Buffer.from('x'))],
  ['a disconnect', Buffer.concat([GO, encodeRequest(COMMAND.disconnect, 0)])],
])('after %s nothing counts', (_what, bytes) => {
  const { isEnded, requests } = read([FLAGS, bytes, encodeRequest(COMMAND.flush, 0)]);
  expect(isEnded).toBe(true);
  expect(requests).toEqual([]);
});

describe('refuses', () => {
  test.each<[string, Buffer]>([
    ['an old client', Buffer.alloc(4)],
    ['flags that are not ours', Buffer.from([0, 0, 0, 7])],
    ['another option magic', Buffer.concat([FLAGS, Buffer.alloc(16)])],
    ['an option of 9 kB', Buffer.concat([FLAGS, encodeOption(6, Buffer.alloc(9000))])],
    ['options without end', Buffer.concat([FLAGS, ...Array(33).fill(encodeOption(8))])],
    ['another request magic', Buffer.concat([FLAGS, GO, Buffer.alloc(28)])],
    ['5 MiB at once', Buffer.concat([FLAGS, GO, encodeRequest(COMMAND.write, 5 * 1024 ** 2)])],
  ])('%s', (_what, bytes) => {
    expect(() => read([bytes])).toThrow(NbdProtocolError);
  });

  test('property: bytes of chance throw one kind of error, or wait for more', () => {
    const beginnings = fc.constantFrom([], [FLAGS], [FLAGS, GO]);
    fc.assert(
      fc.property(beginnings, fc.uint8Array({ maxLength: 200 }), (beginning, noise) => {
        try {
          read([...beginning, Buffer.from(noise)]);
        } catch (error) {
          expect(error).toBeInstanceOf(NbdProtocolError);
        }
      }),
    );
  });
});
