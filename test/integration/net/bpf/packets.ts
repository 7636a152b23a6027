/**
 * Packets made and read byte by byte for tests of the switch, and their checksums computed in full:
 * nothing here knows how the programs change them.
 */
export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
export const GUEST_MAC = '02:61:72:00:00:02';
export const TAP_MAC = '02:61:72:00:00:01';

export interface IpOptions {
  readonly source: string;
  readonly destination: string;
  readonly ttl?: number;
  readonly id?: number;
  /** Byte offset of a fragment; its payload is what `payload` gives. */
  readonly fragmentOffset?: number;
  readonly moreFragments?: boolean;
  /** A whole number of words. */
  readonly options?: Buffer;
}

export interface Ports {
  readonly sourcePort: number;
  readonly destinationPort: number;
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

function checksumOf(bytes: Buffer): number {
  return 0xffff - sumOf(bytes);
}

function addressBytes(dotted: string): Buffer {
  return Buffer.from(dotted.split('.').map(Number));
}

function pseudoHeader(protocol: number, ip: IpOptions, bytes: number): Buffer {
  const tail = Buffer.from([0, protocol, Math.floor(bytes / 256), bytes % 256]);
  return Buffer.concat([addressBytes(ip.source), addressBytes(ip.destination), tail]);
}

export function ipv4(protocol: number, ip: IpOptions, payload: Buffer): Buffer {
  const options = ip.options ?? Buffer.alloc(0);
  const header = Buffer.concat([Buffer.alloc(20), options]);
  header.writeUInt8(0x40 + header.length / 4, 0);
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(ip.id ?? 0, 4);
  header.writeUInt16BE((ip.moreFragments ? 0x2000 : 0) + (ip.fragmentOffset ?? 0) / 8, 6);
  header.writeUInt8(ip.ttl ?? 64, 8);
  header.writeUInt8(protocol, 9);
  addressBytes(ip.source).copy(header, 12);
  addressBytes(ip.destination).copy(header, 16);
  header.writeUInt16BE(checksumOf(header), 10);
  return Buffer.concat([header, payload]);
}

/** The UDP datagram alone; fragments are cut from it. `checksum: false` leaves it 0, none. */
export function udpDatagram(
  ip: IpOptions,
  { sourcePort, destinationPort }: Ports,
  data: Buffer,
  checksum = true,
): Buffer {
  const datagram = Buffer.concat([Buffer.alloc(8), data]);
  datagram.writeUInt16BE(sourcePort, 0);
  datagram.writeUInt16BE(destinationPort, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  const sum = checksumOf(Buffer.concat([pseudoHeader(UDP, ip, datagram.length), datagram]));
  if (checksum) datagram.writeUInt16BE(sum === 0 ? 0xffff : sum, 6);
  return datagram;
}

export function udp(ip: IpOptions, ports: Ports, data: Buffer = Buffer.from('hello')): Buffer {
  return ipv4(UDP, ip, udpDatagram(ip, ports, data));
}

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const ACK = 16;

export function tcp(
  ip: IpOptions,
  ports: Ports & { flags?: number },
  data: Buffer = Buffer.alloc(0),
) {
  const segment = Buffer.concat([Buffer.alloc(20), data]);
  segment.writeUInt16BE(ports.sourcePort, 0);
  segment.writeUInt16BE(ports.destinationPort, 2);
  segment.writeUInt32BE(0x01020304, 4);
  segment.writeUInt8(0x50, 12);
  segment.writeUInt8(ports.flags ?? ACK, 13);
  segment.writeUInt16BE(1024, 14);
  const sum = checksumOf(Buffer.concat([pseudoHeader(TCP, ip, segment.length), segment]));
  segment.writeUInt16BE(sum, 16);
  return ipv4(TCP, ip, segment);
}

export function echo(
  ip: IpOptions,
  type: 'request' | 'reply',
  id: number,
  data: Buffer = Buffer.from('ping'),
) {
  const message = Buffer.concat([
    Buffer.from([type === 'request' ? 8 : 0, 0, 0, 0]),
    Buffer.alloc(4),
    data,
  ]);
  message.writeUInt16BE(id, 4);
  message.writeUInt16BE(checksumOf(message), 2);
  return ipv4(ICMP, ip, message);
}

/** Port unreachable, unless told otherwise, about a packet of which so many bytes are quoted. */
export function icmpError(
  ip: IpOptions,
  about: Buffer,
  { type = 3, code = 3, quotedBytes = 28 } = {},
) {
  const message = Buffer.concat([
    Buffer.from([type, code, 0, 0, 0, 0, 0, 0]),
    about.subarray(0, quotedBytes),
  ]);
  message.writeUInt16BE(checksumOf(message), 2);
  return ipv4(ICMP, ip, message);
}

export function ethernet(
  packet: Buffer,
  { source = GUEST_MAC, destination = TAP_MAC, type = 0x0800 } = {},
): Buffer {
  const macs = [destination, source].map((mac) => Buffer.from(mac.replaceAll(':', ''), 'hex'));
  return Buffer.concat([...macs, Buffer.from([Math.floor(type / 256), type % 256]), packet]);
}

export function arpRequest({
  senderMac = GUEST_MAC,
  sender,
  target,
}: {
  readonly senderMac?: string;
  readonly sender: string;
  readonly target: string;
}): Buffer {
  const body = Buffer.concat([
    Buffer.from('0001080006040001', 'hex'),
    Buffer.from(senderMac.replaceAll(':', ''), 'hex'),
    addressBytes(sender),
    Buffer.alloc(6),
    addressBytes(target),
  ]);
  return ethernet(body, { destination: 'ff:ff:ff:ff:ff:ff', type: 0x0806 });
}

export interface ReadPacket {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly ttl: number;
  /** For ICMP echo both are the identifier. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Buffer;
  /** Of the header, and of what it carries if that is whole. */
  readonly checksumsHold: boolean;
}

/** A frame with a plain IPv4 packet. */
export function readFrame(frame: Buffer): ReadPacket {
  return readIp(frame.subarray(14));
}

/** An IPv4 packet, or as much of it as an ICMP error quotes. */
export function readIp(packet: Buffer): ReadPacket {
  const header = packet.subarray(0, 20);
  const protocol = header.readUInt8(9);
  const source = header.subarray(12, 16).join('.');
  const destination = header.subarray(16, 20).join('.');
  const whole = header.readUInt16BE(2) === packet.length && (header.readUInt16BE(6) & 0x3fff) === 0;
  const body = packet.subarray(20);
  const ports = protocol === ICMP ? [4, 4] : [0, 2];
  const [sourcePort = 0, destinationPort = 0] = ports.map((at) => body.readUInt16BE(at));
  return {
    source,
    destination,
    protocol,
    ttl: header.readUInt8(8),
    sourcePort,
    destinationPort,
    data: body.subarray(protocol === TCP ? 20 : 8),
    checksumsHold:
      sumOf(header) === 0xffff && (!whole || bodyHolds(protocol, { source, destination }, body)),
  };
}

function bodyHolds(protocol: number, ip: IpOptions, body: Buffer): boolean {
  if (protocol === ICMP) return sumOf(body) === 0xffff;
  if (protocol === UDP && body.readUInt16BE(6) === 0) return true;
  return sumOf(Buffer.concat([pseudoHeader(protocol, ip, body.length), body])) === 0xffff;
}

/** Of a datagram put together from its fragments. */
export function datagramHolds(ip: IpOptions, datagram: Buffer): boolean {
  return bodyHolds(UDP, ip, datagram);
}
