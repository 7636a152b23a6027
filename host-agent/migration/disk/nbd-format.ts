/** The words of the NBD protocol, big-endian (NetworkBlockDevice/nbd doc/proto.md). */
export const NBD_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const REPLY_MAGIC = 0x67446698;

/** Of both sides' first flags. */
export const HANDSHAKE = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const OPTION = { exportName: 1, abort: 2, list: 3, info: 6, go: 7 } as const;

export const OPTION_REPLY = {
  ack: 1,
  server: 2,
  info: 3,
  unsupported: 0x8000_0001,
  invalid: 0x8000_0003,
  unknown: 0x8000_0006,
} as const;

export const INFO = { export: 0, blockSize: 3 } as const;

export const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, zero: 6 } as const;

/** What the export can: has flags, flush, trim, write zeroes. No FUA: nothing is ever synced. */
export const EXPORT_FLAGS = 0x01 | 0x04 | 0x20 | 0x40;

export const ERROR = { none: 0, io: 5, invalid: 22, noSpace: 28, notSupported: 95 } as const;
export type NbdErrorNumber = (typeof ERROR)[keyof typeof ERROR];

export const REQUEST_BYTES = 28;
export const OPTION_HEAD_BYTES = 16;
/** The longest payload of a write, and the longest answer to a read. */
export const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024;

export interface NbdRequest {
  readonly command: number;
  /** The client's, given back in the reply. */
  readonly cookie: bigint;
  readonly offset: bigint;
  readonly length: number;
  /** Of a write, `length` bytes; else empty. */
  readonly payload: Buffer;
}

export function encodeReply(cookie: bigint, error: NbdErrorNumber): Buffer {
  const reply = Buffer.alloc(16);
  reply.writeUInt32BE(REPLY_MAGIC, 0);
  reply.writeUInt32BE(error, 4);
  reply.writeBigUInt64BE(cookie, 8);
  return reply;
}
