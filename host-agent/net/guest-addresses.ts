/** Guest addresses: unique on a host, out of a configured range. Pure. */

interface Range {
  readonly first: number;
  readonly size: number;
}

/** The lowest free address of `range` (CIDR), without the range's first and last; undefined: full. */
export function chooseGuestAddress(range: string, taken: ReadonlySet<string>): string | undefined {
  const { first, size } = parseRange(range);
  for (let offset = 1; offset < size - 1; offset += 1) {
    const address = formatAddress(first + offset);
    if (!taken.has(address)) return address;
  }
  return undefined;
}

function parseRange(range: string): Range {
  const [address = '', length = '32'] = range.split('/');
  const size = 2 ** (32 - Number(length));
  const value = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  return { first: value - (value % size), size };
}

function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
