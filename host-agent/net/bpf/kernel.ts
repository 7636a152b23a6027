/**
 * The one door to bpf(2): `syscall` of libc, by koffi. A call takes about two microseconds and
 * blocks for as long. Attributes are written field by field at the offsets of union bpf_attr
 * (linux/bpf.h); pointers are addresses of Buffers, which must stay referenced during the call.
 */
import { closeSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { z } from 'zod';
import { BpfError } from './bpf-errors.ts';

/** Of x86-64. */
const SYS = { bpf: 321, fsopen: 430, fsconfig: 431, fsmount: 432 } as const;
const FSCONFIG_CMD_CREATE = 6;
/** More than any attribute used here; the kernel wants what it does not know to be zero. */
const ATTRIBUTE_BYTES = 128;

/** enum bpf_cmd. */
export const BPF = {
  mapCreate: 0,
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  mapNextKey: 4,
  programLoad: 5,
  pin: 6,
  programTestRun: 10,
  programById: 13,
  mapById: 14,
  info: 15,
  mapLookupBatch: 24,
  bindMap: 35,
} as const;
export type BpfCommand = (typeof BPF)[keyof typeof BPF];

export const ENOENT = 2;
const EINTR = 4;
const EAGAIN = 11;
export const EEXIST = 17;
export const ENOSPC = 28;

/** How a command says that a signal cut it short. */
const INTERRUPTED: ReadonlyMap<BpfCommand, number> = new Map([
  [BPF.programLoad, EAGAIN],
  [BPF.programTestRun, EINTR],
]);
const INTERRUPTED_TRIES = 50;

const Result = z.int();
const syscall = koffi
  .load('libc.so.6')
  .func('long syscall(long number, long command, void *attributes, long bytes)');
const plainSyscall = koffi
  .load('libc.so.6')
  .func('long syscall(long number, long a, long b, long c, long d, long e)');

export type AttributeField = readonly [offset: number, value: number | Buffer];

/** Zeroes but for the fields: a number is written as u32, a Buffer as a pointer to its bytes. */
export function attributes(...fields: readonly AttributeField[]): Buffer {
  const encoded = Buffer.alloc(ATTRIBUTE_BYTES);
  for (const [offset, value] of fields) {
    if (typeof value === 'number') encoded.writeUInt32LE(value, offset);
    else encoded.writeBigUInt64LE(addressOf(value), offset);
  }
  return encoded;
}

function addressOf(bytes: Buffer): bigint {
  if (bytes.length === 0) return 0n;
  const address: unknown = koffi.address(bytes);
  if (typeof address === 'bigint') return address;
  throw new TypeError(`a Buffer's address is ${typeof address}`);
}

/**
 * The call's result, 0 or a file descriptor; or the error's number, negative. Never throws. The
 * verifier and a test run give up when a signal comes, such as a child's end, and want to be asked
 * again (kernel/bpf/verifier.c: signal_pending).
 */
export function tryBpf(command: BpfCommand, encoded: Buffer): number {
  for (let tries = 1; ; tries += 1) {
    const result = Result.parse(syscall(SYS.bpf, command, encoded, encoded.length));
    if (result >= 0) return result;
    const errno = koffi.errno();
    if (INTERRUPTED.get(command) !== errno || tries === INTERRUPTED_TRIES) return -errno;
  }
}

/** As `tryBpf`; throws BpfError with what was tried. */
export function bpf(command: BpfCommand, encoded: Buffer, doing: string): number {
  const result = tryBpf(command, encoded);
  if (result < 0) throw kernelRefused(doing, -result);
  return result;
}

export function kernelRefused(doing: string, errno: number, log = ''): BpfError {
  const said = log === '' ? '' : `\n${log}`;
  return new BpfError(`The kernel refused to ${doing}: ${getSystemErrorName(-errno)}.${said}`, {
    context: { errno },
  });
}

export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/** A file system of that type at no path: the descriptor is its root, and it goes with that. */
export function mountDetached(type: string): number {
  const name = cString(type);
  const context = call(SYS.fsopen, addressOf(name), 0, 0);
  try {
    call(SYS.fsconfig, context, FSCONFIG_CMD_CREATE, 0);
    return call(SYS.fsmount, context, 0, 0);
  } finally {
    closeSync(context);
  }
}

function call(number: number, a: number | bigint, b: number, c: number): number {
  const result = Result.parse(plainSyscall(number, a, b, c, 0, 0));
  if (result < 0) throw kernelRefused('mount the BPF file system', koffi.errno());
  return result;
}
