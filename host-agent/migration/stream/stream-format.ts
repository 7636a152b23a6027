/**
 * The words of QEMU's migration stream, big-endian (migration/savevm.h, savevm.c, ram.c, qemu-file.h):
 *
 *   stream   "QEVM" version 3, configuration, (command | section)*, EOF, description of the devices
 *   section  type, u32 id, [start, full: u8+name, u32 instance, u32 version], content, 0x7e, u32 id
 *   ram      records of u64 `address | flags`, the last one END_OF_ROUND
 */
export const MAGIC = 0x5145564d;
export const VERSION = 3;
export const PAGE_BYTES = 4096;

export const SECTION = {
  eof: 0x00,
  start: 0x01,
  part: 0x02,
  end: 0x03,
  full: 0x04,
  description: 0x06,
  configuration: 0x07,
  command: 0x08,
  footer: 0x7e,
} as const;

/** Low bits of a RAM record's address. */
export const RAM = {
  zero: 0x02,
  memorySize: 0x04,
  page: 0x08,
  endOfRound: 0x10,
  sameBlock: 0x20,
  multifdFlush: 0x200,
} as const;

export const COMMAND = { openReturnPath: 1, ping: 2 } as const;

/** Of the return path: u16 type, u16 length, data. */
export const RETURN = { shut: 1, pong: 2, switchoverAck: 7 } as const;

/** One RAM block of the guest, as the `ram` section's start lists them. */
export interface RamBlock {
  readonly name: string;
  readonly sizeBytes: number;
}
