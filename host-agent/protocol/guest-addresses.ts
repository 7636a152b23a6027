/** Guest addresses: unique on a host, and in a fleet that has a gateway; out of one range. Pure. */
import { createHash } from 'node:crypto';
import { fromInteger, toInteger } from './ipv4-number.ts';

export const GUEST_RANGE = '10.201.0.0/16';

interface Range {
  readonly first: number;
  readonly size: number;
}

/**
 * A free address of `range` (CIDR), without the range's first and last; undefined: full. Where to
 * look first depends on the VM: it takes its address along when it moves, so VMs of different hosts
 * should have different ones.
 */
export function chooseGuestAddress(wanted: {
  readonly range: string;
  readonly vmId: string;
  readonly taken: ReadonlySet<string>;
}): string | undefined {
  const { first, size } = parseRange(wanted.range);
  const usable = size - 2;
  const start = createHash('sha256').update(wanted.vmId).digest().readUInt32BE(0);
  for (let tried = 0; tried < usable; tried += 1) {
    const address = fromInteger(first + 1 + ((start + tried) % usable));
    if (!wanted.taken.has(address)) return address;
  }
  return undefined;
}

function parseRange(range: string): Range {
  const [address = '', length = '32'] = range.split('/');
  const size = 2 ** (32 - Number(length));
  const value = toInteger(address);
  return { first: value - (value % size), size };
}
