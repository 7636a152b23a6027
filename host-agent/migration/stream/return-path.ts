/** What the receiver of a migration stream says to its QEMU (migration.c, source_return_path_thread). */
import { RETURN } from './stream-format.ts';

/** QEMU may finish: it stops a guest that runs. Withheld, the stream goes on for ever. */
export function encodeSwitchoverAck(): Buffer {
  return encode(RETURN.switchoverAck, Buffer.alloc(0));
}

/** The state arrived whole; QEMU completes only after it. */
export function encodeShut(): Buffer {
  return encode(RETURN.shut, Buffer.alloc(4));
}

/** The answer to a ping, with its number. */
export function encodePong(value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeUInt32BE(value);
  return encode(RETURN.pong, data);
}

function encode(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(data.length, 2);
  return Buffer.concat([head, data]);
}
