/**
 * The frames by which an address's new holder tells its network (RFC 5227, 3; RFC 826): as a request
 * and as a reply, since some listen to one of them only. Pure.
 */
import { toInteger } from '../protocol/ipv4-number.ts';

const BROADCAST = Buffer.alloc(6, 0xff);
const ETHERTYPE_ARP = 0x0806;
const REQUEST = 1;
const REPLY = 2;

export interface AddressHolder {
  readonly address: string;
  /** `02:00:…`, of the device that the address is on. */
  readonly mac: string;
}

export function encodeAnnouncements({ address, mac }: AddressHolder): readonly Buffer[] {
  const macBytes = Buffer.from(mac.replaceAll(':', ''), 'hex');
  const addressBytes = Buffer.alloc(4);
  addressBytes.writeUInt32BE(toInteger(address));
  return [REQUEST, REPLY].map((operation) =>
    Buffer.concat([
      BROADCAST,
      macBytes,
      shorts(ETHERTYPE_ARP, 1, 0x0800, 0x0604, operation),
      macBytes,
      addressBytes,
      operation === REQUEST ? Buffer.alloc(6) : BROADCAST,
      addressBytes,
    ]),
  );
}

function shorts(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [n, value] of values.entries()) bytes.writeUInt16BE(value, n * 2);
  return bytes;
}
