/** IPv6 addresses as their eight groups of 16 bits. Pure. */

const GROUPS = 8;

/** Of an address in any of the forms of RFC 4291, 2.2, without a zone. */
export function toGroups(address: string): readonly number[] {
  const [head = '', tail] = plain(address).split('::');
  const [first, last] = [parseGroups(head), parseGroups(tail ?? '')];
  if (tail === undefined) return first;
  const zeroes = Array.from({ length: GROUPS - first.length - last.length }, () => 0);
  return [...first, ...zeroes, ...last];
}

/** In the form of RFC 5952. */
export function fromGroups(groups: readonly number[]): string {
  const text = groups.map((group) => group.toString(16)).join(':');
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}

/** Without dots: the last 32 bits may be written as an IPv4 address. */
function plain(address: string): string {
  return address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: readonly string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
}

function parseGroups(text: string): readonly number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}
