/**
 * C structs as values: fields in order, each at its natural alignment, as the compiler of bpf/
 * places them; a test compares both. Trailing padding is written as zeroes.
 */
import { fromInteger, toInteger } from '../../protocol/ipv4-number.ts';
import { fromGroups, toGroups } from '../../protocol/ipv6-groups.ts';

/** Methods, not properties: a Field<number> has to pass for a Field<unknown>. */
export interface Field<T> {
  readonly bytes: number;
  readonly align: number;
  read(from: Buffer, at: number): T;
  write(to: Buffer, at: number, value: T): void;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
export type Values<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never;
};
export type Shape<L> = L extends Layout<infer F> ? Values<F> : never;

export interface Layout<F extends Fields = Fields> {
  /** The struct's name in bpf/abi.h. */
  readonly struct: string;
  readonly bytes: number;
  readonly offsets: Readonly<Record<string, number>>;
  encode(values: Values<F>): Buffer;
  decode(from: Buffer): Values<F>;
}

export function layout<F extends Fields>(struct: string, fields: F): Layout<F> {
  const placed: Placed[] = [];
  let end = 0;
  let align = 1;
  for (const [name, field] of Object.entries(fields)) {
    const at = roundUp(end, field.align);
    placed.push({ name, field, at });
    end = at + field.bytes;
    align = Math.max(align, field.align);
  }
  const bytes = roundUp(end, align);
  const offsets = Object.fromEntries(placed.map(({ name, at }) => [name, at]));
  const encode = (values: Values<F>): Buffer => {
    const to = Buffer.alloc(bytes);
    for (const { name, field, at } of placed) field.write(to, at, values[name]);
    return to;
  };
  return { struct, bytes, offsets, encode, decode: (from) => readFields<F>(placed, from) };
}

interface Placed {
  readonly name: string;
  readonly field: Field<unknown>;
  readonly at: number;
}

function readFields<F extends Fields>(placed: readonly Placed[], from: Buffer): Values<F>;
function readFields(placed: readonly Placed[], from: Buffer): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const { name, field, at } of placed) values[name] = field.read(from, at);
  return values;
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

export const u8: Field<number> = {
  bytes: 1,
  align: 1,
  read: (from, at) => from.readUInt8(at),
  write: (to, at, value) => to.writeUInt8(value, at),
};

export const u16: Field<number> = {
  bytes: 2,
  align: 2,
  read: (from, at) => from.readUInt16LE(at),
  write: (to, at, value) => to.writeUInt16LE(value, at),
};

export const u32: Field<number> = {
  bytes: 4,
  align: 4,
  read: (from, at) => from.readUInt32LE(at),
  write: (to, at, value) => to.writeUInt32LE(value, at),
};

/** A counter: exact up to 2^53. */
export const u64: Field<number> = {
  bytes: 8,
  align: 8,
  read: (from, at) => Number(from.readBigUInt64LE(at)),
  write: (to, at, value) => to.writeBigUInt64LE(BigInt(Math.trunc(value)), at),
};

/** __be16, as packets carry it. */
export const port: Field<number> = {
  bytes: 2,
  align: 2,
  read: (from, at) => from.readUInt16BE(at),
  write: (to, at, value) => to.writeUInt16BE(value, at),
};

/** __be32 ↔ dotted. */
export const address: Field<string> = {
  bytes: 4,
  align: 4,
  read: (from, at) => fromInteger(from.readUInt32BE(at)),
  write: (to, at, value) => to.writeUInt32BE(toInteger(value), at),
};

/** __u32 in host order ↔ dotted; zero ↔ undefined. */
export const underlay: Field<string | undefined> = {
  bytes: 4,
  align: 4,
  read: (from, at) => {
    const value = from.readUInt32LE(at);
    return value === 0 ? undefined : fromInteger(value);
  },
  write: (to, at, value) => to.writeUInt32LE(value === undefined ? 0 : toInteger(value), at),
};

/** Four __be32 ↔ an IPv6 address. */
export const address6: Field<string> = {
  bytes: 16,
  align: 4,
  read: (from, at) => fromGroups(groups(8).read(from, at)),
  write: (to, at, value) => groups(8).write(to, at, toGroups(value)),
};

/** Part of an IPv6 address, in __be32. */
export function groups(count: number): Field<readonly number[]> {
  return { ...array(port, count), align: 4 };
}

/** `aa:bb:cc:dd:ee:ff`. */
export const mac: Field<string> = {
  bytes: 6,
  align: 1,
  read: (from, at) => from.toString('hex', at, at + 6).replaceAll(/(..)(?!$)/g, '$1:'),
  write: (to, at, value) => {
    to.write(value.replaceAll(':', ''), at, 'hex');
  },
};

export function array<T>(element: Field<T>, count: number): Field<readonly T[]> {
  return {
    bytes: element.bytes * count,
    align: element.align,
    read: (from, at) =>
      Array.from({ length: count }, (_, n) => element.read(from, at + n * element.bytes)),
    write: (to, at, values) => {
      for (const [n, value] of values.slice(0, count).entries()) {
        element.write(to, at + n * element.bytes, value);
      }
    },
  };
}
