/**
 * What follows the memory in a migration stream: sections of devices, of which only the devices know
 * where they end. The stream's own end can be told: it is the end mark and the description of all
 * devices, a JSON text with its length before it, with which the stream stops (savevm.c,
 * qemu_savevm_state_complete_precopy_non_iterable).
 *
 * A guest that puts such an end into a device's buffer can have its state cut off there; that state
 * does not load at the target, and the VM goes on at the source.
 */
import { MigrationStreamError } from './stream-errors.ts';
import { SECTION } from './stream-format.ts';

const MAX_BYTES = 64 * 1024 * 1024;
const HEAD_BYTES = 6;
const BRACES = { open: 0x7b, close: 0x7d };

export class DeviceState {
  readonly #pieces: Buffer[] = [];
  #sizeBytes = 0;
  #complete = false;

  get isComplete(): boolean {
    return this.#complete;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  /** Throws MigrationStreamError beyond 64 MiB, and for anything after the end. */
  push(piece: Buffer): void {
    if (piece.length === 0) return;
    if (this.#complete) throw new MigrationStreamError('The stream goes on after its end.');
    this.#sizeBytes += piece.length;
    if (this.#sizeBytes > MAX_BYTES) {
      throw new MigrationStreamError('The state of the devices is larger than any should be.');
    }
    this.#pieces.push(Buffer.from(piece));
    // Looking is not free, and no other byte can be the last one.
    if (piece.at(-1) === BRACES.close) this.#complete = endsWithDescription(this.bytes());
  }
}

/** Whether these bytes end with the end mark and a description exactly as long as it says. */
export function endsWithDescription(bytes: Buffer): boolean {
  const mark = Buffer.from([SECTION.eof, SECTION.description]);
  for (let at = bytes.indexOf(mark); at !== -1; at = bytes.indexOf(mark, at + 1)) {
    const text = at + HEAD_BYTES;
    if (text >= bytes.length || bytes[text] !== BRACES.open) continue;
    if (bytes.readUInt32BE(at + 2) === bytes.length - text) return true;
  }
  return false;
}
