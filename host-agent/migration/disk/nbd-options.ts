/** What the export answers to the options with which a client of NBD begins. Pure. */
import { CLUSTER_BYTES } from './cluster.ts';
import {
  EXPORT_FLAGS,
  INFO,
  MAX_PAYLOAD_BYTES,
  OPTION,
  OPTION_REPLY,
  OPTION_REPLY_MAGIC,
} from './nbd-format.ts';

/** The only export has the empty name, which is the default one. */
const NAME_LENGTH_BYTES = 4;
const ZEROES_BYTES = 124;

export interface OptionAnswer {
  readonly reply: Buffer;
  /** What comes next: another option, requests, or nothing. */
  readonly next: 'option' | 'requests' | 'end';
}

/** Structured replies, extended headers, TLS and the rest are refused: clients go on without. */
export function answerOption(
  option: number,
  data: Buffer,
  { sizeBytes, sendsZeroes }: { readonly sizeBytes: number; readonly sendsZeroes: boolean },
): OptionAnswer {
  const reply = (type: number, body?: Buffer) => encodeOptionReply(option, type, body);
  switch (option) {
    case OPTION.exportName:
      // The one option without a way to say no.
      if (data.length > 0) return { reply: Buffer.alloc(0), next: 'end' };
      return { reply: encodeOldExport(sizeBytes, sendsZeroes), next: 'requests' };
    case OPTION.abort:
      return { reply: reply(OPTION_REPLY.ack), next: 'end' };
    case OPTION.list: {
      if (data.length > 0) return { reply: reply(OPTION_REPLY.invalid), next: 'option' };
      const server = reply(OPTION_REPLY.server, Buffer.alloc(NAME_LENGTH_BYTES));
      return { reply: Buffer.concat([server, reply(OPTION_REPLY.ack)]), next: 'option' };
    }
    case OPTION.info:
    case OPTION.go: {
      const refusal = checkInfoRequest(data);
      if (refusal !== undefined) return { reply: reply(refusal), next: 'option' };
      const infos = [encodeExport(sizeBytes), encodeBlockSizes(sizeBytes)];
      const replies = infos.map((info) => reply(OPTION_REPLY.info, info));
      const all = Buffer.concat([...replies, reply(OPTION_REPLY.ack)]);
      return { reply: all, next: option === OPTION.go ? 'requests' : 'option' };
    }
    default:
      return { reply: reply(OPTION_REPLY.unsupported), next: 'option' };
  }
}

/** u32 length and name, u16 count and as many u16. */
function checkInfoRequest(data: Buffer): number | undefined {
  if (data.length < NAME_LENGTH_BYTES + 2) return OPTION_REPLY.invalid;
  const nameLength = data.readUInt32BE(0);
  const countAt = NAME_LENGTH_BYTES + nameLength;
  if (countAt + 2 > data.length) return OPTION_REPLY.invalid;
  if (data.length !== countAt + 2 + 2 * data.readUInt16BE(countAt)) return OPTION_REPLY.invalid;
  return nameLength === 0 ? undefined : OPTION_REPLY.unknown;
}

function encodeExport(sizeBytes: number): Buffer {
  const info = Buffer.alloc(12);
  info.writeUInt16BE(INFO.export, 0);
  info.writeBigUInt64BE(BigInt(sizeBytes), 2);
  info.writeUInt16BE(EXPORT_FLAGS, 10);
  return info;
}

function encodeBlockSizes(sizeBytes: number): Buffer {
  const info = Buffer.alloc(14);
  info.writeUInt16BE(INFO.blockSize, 0);
  info.writeUInt32BE(minimumBlockBytes(sizeBytes), 2);
  info.writeUInt32BE(CLUSTER_BYTES, 6);
  info.writeUInt32BE(MAX_PAYLOAD_BYTES, 10);
  return info;
}

/**
 * 64 KiB, or what divides the size: an export has to be a multiple of it, and a backup's target as
 * large as its source. QEMU's backup copies whole clusters all the same, but for the last.
 */
function minimumBlockBytes(sizeBytes: number): number {
  let block = CLUSTER_BYTES;
  while (sizeBytes % block !== 0) block /= 2;
  return block;
}

/** Without a magic number, and with zeroes behind unless the client can do without. */
function encodeOldExport(sizeBytes: number, sendsZeroes: boolean): Buffer {
  const reply = Buffer.alloc(10 + (sendsZeroes ? ZEROES_BYTES : 0));
  reply.writeBigUInt64BE(BigInt(sizeBytes), 0);
  reply.writeUInt16BE(EXPORT_FLAGS, 8);
  return reply;
}

function encodeOptionReply(option: number, type: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(type, 12);
  head.writeUInt32BE(body.length, 16);
  return Buffer.concat([head, body]);
}
