/**
 * The server's side of one NBD connection, in pieces of any size:
 *
 *   greeting → client's flags → option* → request* → end
 *
 * Invariants: how the input is split changes nothing; at most one whole request is kept, and its
 * payload has a limit. What is no NBD, or beyond a limit, throws NbdProtocolError, and the parser is
 * of no use after that. Pure: the caller sends and executes what it gets, in order.
 */
import { NbdProtocolError } from './disk-errors.ts';
import {
  COMMAND,
  HANDSHAKE,
  MAX_PAYLOAD_BYTES,
  NBD_MAGIC,
  type NbdRequest,
  OPTION_HEAD_BYTES,
  OPTION_MAGIC,
  REQUEST_BYTES,
  REQUEST_MAGIC,
} from './nbd-format.ts';
import { answerOption } from './nbd-options.ts';

const CLIENT_FLAGS_BYTES = 4;
/** A name has at most 4,096 bytes; QEMU asks for two kinds of information. */
const MAX_OPTION_BYTES = 8 * 1024;
/** QEMU needs three. */
const MAX_OPTIONS = 32;
const EMPTY = Buffer.alloc(0);

export type NbdStep =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  | { readonly kind: 'request'; readonly request: NbdRequest }
  /** The client is done; nothing that it sends later counts. */
  | { readonly kind: 'end' };

/** Takes exactly as many bytes as it waited for; gives what to do. */
type Handler = (bytes: Buffer) => readonly NbdStep[];

export class NbdParser {
  readonly #sizeBytes: number;
  #wanted = Buffer.allocUnsafe(CLIENT_FLAGS_BYTES);
  #filled = 0;
  #handler: Handler = (bytes) => this.#clientFlags(bytes);
  #sendsZeroes = true;
  #options = 0;
  #isEnded = false;

  /** `sizeBytes`: of the export, for as long as this connection lasts. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /** What the server says first. */
  get greeting(): Buffer {
    const greeting = Buffer.alloc(18);
    greeting.writeBigUInt64BE(NBD_MAGIC, 0);
    greeting.writeBigUInt64BE(OPTION_MAGIC, 8);
    greeting.writeUInt16BE(HANDSHAKE.fixedNewstyle | HANDSHAKE.noZeroes, 16);
    return greeting;
  }

  push(piece: Buffer): readonly NbdStep[] {
    const steps: NbdStep[] = [];
    let at = 0;
    while (at < piece.length && !this.#isEnded) {
      const copied = piece.copy(this.#wanted, this.#filled, at);
      at += copied;
      this.#filled += copied;
      if (this.#filled === this.#wanted.length) steps.push(...this.#complete());
    }
    return steps;
  }

  #complete(): readonly NbdStep[] {
    const steps = this.#handler(this.#wanted);
    if (steps.some(({ kind }) => kind === 'end')) this.#isEnded = true;
    return steps;
  }

  #expect(length: number, handler: Handler): readonly NbdStep[] {
    this.#filled = 0;
    this.#handler = handler;
    this.#wanted = Buffer.allocUnsafe(length);
    return length === 0 ? handler(EMPTY) : [];
  }

  #clientFlags(bytes: Buffer): readonly NbdStep[] {
    const flags = bytes.readUInt32BE(0);
    if ((flags & HANDSHAKE.fixedNewstyle) === 0) throw broken('the client is of an old kind');
    if ((flags & ~(HANDSHAKE.fixedNewstyle | HANDSHAKE.noZeroes)) !== 0) {
      throw broken(`the client's flags are 0x${flags.toString(16)}`);
    }
    this.#sendsZeroes = (flags & HANDSHAKE.noZeroes) === 0;
    return this.#expectOption();
  }

  #expectOption(): readonly NbdStep[] {
    return this.#expect(OPTION_HEAD_BYTES, (bytes) => this.#optionHead(bytes));
  }

  #optionHead(bytes: Buffer): readonly NbdStep[] {
    if (bytes.readBigUInt64BE(0) !== OPTION_MAGIC) throw broken('an option has another beginning');
    this.#options += 1;
    if (this.#options > MAX_OPTIONS) throw broken('the client has too many options');
    const option = bytes.readUInt32BE(8);
    const length = bytes.readUInt32BE(12);
    if (length > MAX_OPTION_BYTES) throw broken(`option ${option} has ${length} bytes`);
    return this.#expect(length, (data) => this.#option(option, data));
  }

  #option(option: number, data: Buffer): readonly NbdStep[] {
    const { reply, next } = answerOption(option, data, {
      sizeBytes: this.#sizeBytes,
      sendsZeroes: this.#sendsZeroes,
    });
    if (next === 'option') this.#expectOption();
    else if (next === 'requests') this.#expectRequest();
    const send = { kind: 'send', bytes: reply } as const;
    return next === 'end' ? [send, { kind: 'end' }] : [send];
  }

  #expectRequest(): readonly NbdStep[] {
    return this.#expect(REQUEST_BYTES, (bytes) => this.#request(bytes));
  }

  #request(bytes: Buffer): readonly NbdStep[] {
    if (bytes.readUInt32BE(0) !== REQUEST_MAGIC) throw broken('a request has another beginning');
    const head = {
      command: bytes.readUInt16BE(6),
      cookie: bytes.readBigUInt64BE(8),
      offset: bytes.readBigUInt64BE(16),
      length: bytes.readUInt32BE(24),
    };
    if (head.command === COMMAND.disconnect) return [{ kind: 'end' }];
    const payloadBytes = head.command === COMMAND.write ? head.length : 0;
    if (payloadBytes > MAX_PAYLOAD_BYTES) throw broken(`a write has ${payloadBytes} bytes`);
    return this.#expect(payloadBytes, (payload) => {
      this.#expectRequest();
      return [{ kind: 'request', request: { ...head, payload } }];
    });
  }
}

function broken(why: string): NbdProtocolError {
  return new NbdProtocolError(`The connection to a disk's export is of no use: ${why}.`);
}
