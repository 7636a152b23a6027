/**
 * IPv6 packets made and read byte by byte for tests of the switch, and their checksums computed in
 * full: nothing here knows how the programs change them. See packets.ts.
 */
import { isIPv6 } from 'node:net';
import { TCP, UDP } from './packets.ts';

export const ICMP6 = 58;
export const FRAGMENT = 44;
export const ECHO_REQUEST = 128;
export const ECHO_REPLY = 129;

export interface Ip6Options {
  readonly source: string;
  readonly destination: string;
  readonly hopLimit?: number;
}

export interface Ports {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** By way of the URL standard, which writes out what may be written in many ways. */
export function bytesOf(address: string): Buffer {
  if (!isIPv6(address)) throw new Error(`${address} is no address`);
  const [head = '', tail = ''] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const [first, last] = [head, tail].map((part) =>
    Buffer.concat(
      part
        .split(':')
        .filter((group) => group !== '')
        .map((group) => Buffer.from(group.padStart(4, '0'), 'hex')),
    ),
  );
  if (first === undefined || last === undefined) throw new Error(`${address} has no halves`);
  return Buffer.concat([first, Buffer.alloc(16 - first.length - last.length), last]);
}

function textOf(bytes: Buffer): string {
  const groups = bytes.toString('hex').replaceAll(/(....)(?!$)/g, '$1:');
  return new URL(`http://[${groups}]`).hostname.slice(1, -1);
}

/** Ones' complement sum (RFC 1071) of big-endian words. */
function sumOf(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += at + 1 < bytes.length ? bytes.readUInt16BE(at) : (bytes[at] ?? 0) * 256;
  }
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

/** RFC 8200, 8.1. */
function pseudoHeader(protocol: number, ip: Ip6Options, bytes: number): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(bytes, 0);
  tail.writeUInt8(protocol, 7);
  return Buffer.concat([bytesOf(ip.source), bytesOf(ip.destination), tail]);
}

function withChecksum(protocol: number, ip: Ip6Options, body: Buffer, at: number): Buffer {
  body.writeUInt16BE(0, at);
  const sum = 0xffff - sumOf(Buffer.concat([pseudoHeader(protocol, ip, body.length), body]));
  body.writeUInt16BE(protocol === UDP && sum === 0 ? 0xffff : sum, at);
  return body;
}

export function ipv6(next: number, ip: Ip6Options, payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(payload.length, 4);
  header.writeUInt8(next, 6);
  header.writeUInt8(ip.hopLimit ?? 64, 7);
  return Buffer.concat([header, bytesOf(ip.source), bytesOf(ip.destination), payload]);
}

/** The UDP datagram alone; fragments are cut from it. */
export function udpDatagram(ip: Ip6Options, ports: Ports, data: Buffer): Buffer {
  const datagram = Buffer.concat([Buffer.alloc(8), data]);
  datagram.writeUInt16BE(ports.sourcePort, 0);
  datagram.writeUInt16BE(ports.destinationPort, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  return withChecksum(UDP, ip, datagram, 6);
}

export function udp(ip: Ip6Options, ports: Ports, data: Buffer = Buffer.from('hello')): Buffer {
  return ipv6(UDP, ip, udpDatagram(ip, ports, data));
}

export function tcp(ip: Ip6Options, ports: Ports & { flags?: number }): Buffer {
  const segment = Buffer.concat([Buffer.alloc(20), Buffer.from('text')]);
  segment.writeUInt16BE(ports.sourcePort, 0);
  segment.writeUInt16BE(ports.destinationPort, 2);
  segment.writeUInt8(0x50, 12);
  segment.writeUInt8(ports.flags ?? 16, 13);
  return ipv6(TCP, ip, withChecksum(TCP, ip, segment, 16));
}

export function icmp(
  ip: Ip6Options,
  message: { readonly type: number; readonly word?: number; readonly body?: Buffer },
): Buffer {
  const { type, word = 0, body = Buffer.alloc(0) } = message;
  const bytes = Buffer.concat([Buffer.from([type, 0, 0, 0]), Buffer.alloc(4), body]);
  bytes.writeUInt32BE(word, 4);
  return ipv6(ICMP6, ip, withChecksum(ICMP6, ip, bytes, 2));
}

export function echo(ip: Ip6Options, type: number, id: number): Buffer {
  return icmp(ip, { type, word: id * 65_536 + 1, body: Buffer.from('ping') });
}

/** The datagram's bytes from `offset`, as one of its fragments. */
export function fragment(
  ip: Ip6Options,
  of: { readonly bytes: Buffer; readonly offset: number; readonly isLast: boolean },
  { id = 7, next = UDP } = {},
): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(next, 0);
  header.writeUInt16BE(of.offset + (of.isLast ? 0 : 1), 2);
  header.writeUInt32BE(id, 4);
  return ipv6(FRAGMENT, ip, Buffer.concat([header, of.bytes]));
}

export interface ReadPacket6 {
  readonly source: string;
  readonly destination: string;
  readonly hopLimit: number;
  readonly next: number;
  readonly body: Buffer;
  /** Of what it carries; false of a fragment's or a quoted packet's, which is not whole. */
  readonly checksumHolds: boolean;
}

export function readIp6(packet: Buffer): ReadPacket6 {
  const [source, destination] = [packet.subarray(8, 24), packet.subarray(24, 40)].map(textOf);
  const next = packet.readUInt8(6);
  const body = packet.subarray(40);
  const ip = { source: source ?? '', destination: destination ?? '' };
  const all = Buffer.concat([pseudoHeader(next, ip, body.length), body]);
  return {
    ...ip,
    ...{ hopLimit: packet.readUInt8(7), next, body },
    checksumHolds: sumOf(all) === 0xffff,
  };
}

export function readFrame6(frame: Buffer): ReadPacket6 {
  return readIp6(frame.subarray(14));
}
