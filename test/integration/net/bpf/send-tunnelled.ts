/**
 * `send-tunnelled.ts TARGET VNI FRAME TIMES [SOURCE]`: sends an Ethernet frame (hexadecimal) in VXLAN
 * (RFC 7348), as a host does that had it in a queue, from one of this namespace's addresses.
 */
import { createSocket } from 'node:dgram';

const VXLAN_PORT = 4789;
const [target = '', vni = '', frame = '', times = '', source] = process.argv.slice(2);
const header = Buffer.alloc(8);
header.writeUInt8(0x08, 0);
header.writeUIntBE(Number(vni), 4, 3);
const packet = Buffer.concat([header, Buffer.from(frame, 'hex')]);
const socket = createSocket('udp4');
if (source !== undefined) socket.bind({ address: source, port: 0 });
for (let n = 0; n < Number(times); n += 1) {
  await new Promise<void>((resolve) => socket.send(packet, VXLAN_PORT, target, () => resolve()));
}
socket.close();
