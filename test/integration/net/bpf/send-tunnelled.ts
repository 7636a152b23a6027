/**
 * `send-tunnelled.ts TARGET VNI FRAME TIMES`: sends an Ethernet frame (hexadecimal) in VXLAN
 * (RFC 7348), as a host does that had it in a queue.
 */
import { createSocket } from 'node:dgram';

const VXLAN_PORT = 4789;
const [target = '', vni = '', frame = '', times = ''] = process.argv.slice(2);
const header = Buffer.alloc(8);
header.writeUInt8(0x08, 0);
header.writeUIntBE(Number(vni), 4, 3);
const packet = Buffer.concat([header, Buffer.from(frame, 'hex')]);
const socket = createSocket('udp4');
for (let n = 0; n < Number(times); n += 1) {
  await new Promise<void>((resolve) => socket.send(packet, VXLAN_PORT, target, () => resolve()));
}
socket.close();
