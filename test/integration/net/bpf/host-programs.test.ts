/** The host's programs, packet by packet: verdict, packet out, counters. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { HostVmEntry } from '../../../../host-agent/net/bpf/abi.ts';
import { nameDrops } from '../../../../host-agent/net/bpf/drop-reasons.ts';
import { planGuardPrefixes } from '../../../../host-agent/net/bpf/guard-plan.ts';
import { type HostTables, openHostTables } from '../../../../host-agent/net/bpf/host-tables.ts';
import { NEVER, PRIVATE } from '../../../../host-agent/net/guest-policy.ts';
import { vniOf } from '../../../../host-agent/net/vni.ts';
import { toInteger } from '../../../../host-agent/protocol/ipv4-number.ts';
import { DROPPED, type Lab, openLab, PASSED, REDIRECTED } from './lab.ts';
import * as packets from './packets.ts';

const NUMBER = 77;
const POLICY = 4;
const GUEST = '10.201.3.4';
const GATEWAY = '100.64.0.1';
const HERE = '100.64.0.2';
const HERE_VNI = vniOf({ number: NUMBER, epoch: 5 });
const NEXT_VNI = vniOf({ number: NUMBER, epoch: 6 });
const LOOPBACK_IFINDEX = 1;
const VXLAN = 40;
const UP = 41;
const TAP = 42;

const vm: HostVmEntry = {
  rateBytes: 0,
  burstBytes: 0,
  vni: HERE_VNI,
  gateway: GATEWAY,
  forwardHost: undefined,
  forwardVni: 0,
  stragglerSource: '100.64.0.8',
  guestAddress: GUEST,
  policy: POLICY,
  linkIfindex: LOOPBACK_IFINDEX,
  upIfindex: UP,
  tapIfindex: TAP,
  guestMac: packets.GUEST_MAC,
};
const away = { ...vm, forwardHost: '100.64.0.9', forwardVni: NEXT_VNI };
const ports = { sourcePort: 4000, destinationPort: 8080 };
const out = { source: GUEST, destination: '198.51.100.9' };

let lab: Lab;
let vms: HostTables['vms'];
let counters: HostTables['counters'];

beforeEach(() => {
  lab = openLab(['host-tap', 'host-uplink', 'host-link', 'host-vxlan'], NUMBER);
  const all = openHostTables(lab.maps);
  ({ vms, counters } = all);
  all.config.set({ index: 0 }, { vxlanIfindex: VXLAN, underlay: HERE });
  all.buckets.set({ number: NUMBER }, { tokens: 3_000, filledNs: 0 });
  counters.ensure({ number: NUMBER });
  vms.set({ number: NUMBER }, vm);
  const planned = planGuardPrefixes({
    never: [...NEVER, '203.0.113.0/24'],
    allow: ['10.1.0.0/16'],
    private: PRIVATE,
    dns: ['10.0.0.53'],
  });
  for (const { address, bits, pass, dns } of planned) {
    const key = { prefixBits: 32 + bits, policy: POLICY, address };
    all.guard.set(key, { pass: Number(pass), dns: Number(dns) });
  }
});
afterEach(() => lab.close());

function fromGuest(frame: Buffer) {
  const { verdict, cb, frame: sent } = lab.run('host-tap', { frame });
  return { verdict, device: cb[2], sent };
}

function drops() {
  return nameDrops(counters.sum({ number: NUMBER })?.drops ?? []);
}

test('the default route’s ARP is answered into the tap', () => {
  const request = packets.arpRequest({ sender: GUEST, target: '169.254.1.1' });
  const { verdict, device, sent } = fromGuest(request);
  expect({ verdict, device }).toEqual({ verdict: REDIRECTED, device: TAP });
  expect(sent.toString('hex')).toBe(
    [
      ['026172000002', '026172000001', '0806', '0001080006040002'],
      ['026172000001', 'a9fe0101', '026172000002', '0ac90304'],
    ]
      .flat()
      .join(''),
  );
});

test.each([
  ['another’s address asked for', { sender: GUEST, target: '169.254.1.2' }, 'ethertype'],
  ['another’s address claimed', { sender: '10.201.3.5', target: '169.254.1.1' }, 'source-address'],
  [
    'another’s MAC claimed',
    { senderMac: '02:61:72:00:00:09', sender: GUEST, target: '169.254.1.1' },
    'source-mac',
  ],
])('ARP is not answered: %s', (_, request, reason) => {
  expect(fromGuest(packets.arpRequest(request)).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ [reason]: 1 });
});

test('a packet to the outside goes to the link, unchanged', () => {
  const frame = packets.ethernet(packets.udp(out, ports));
  expect(fromGuest(frame)).toEqual({ verdict: REDIRECTED, device: UP, sent: frame });
});

test.each(['198.51.100.9', '8.8.8.8', '10.1.2.3', '172.32.0.1', '11.0.0.1'])(
  '%s is reached',
  (destination) => {
    expect(fromGuest(packets.ethernet(packets.udp({ ...out, destination }, ports))).verdict).toBe(
      REDIRECTED,
    );
  },
);

test.each([
  '169.254.169.254',
  '169.254.170.2',
  '169.254.1.1',
  '168.63.129.16',
  '100.100.100.200',
  '192.0.0.192',
  '100.64.0.1',
  '10.201.9.9',
  '10.0.0.53',
  '172.16.0.1',
  '192.168.1.1',
  '127.0.0.1',
  '0.0.0.0',
  '224.0.0.1',
  '255.255.255.255',
  '198.18.0.1',
  '203.0.113.7',
])('%s is not reached', (destination) => {
  expect(fromGuest(packets.ethernet(packets.udp({ ...out, destination }, ports))).verdict).toBe(
    DROPPED,
  );
  expect(drops()).toEqual({ guard: 1 });
});

test('the guest API’s one port is reached by TCP, in the VM’s own namespace', () => {
  const api = { ...out, destination: '169.254.1.1' };
  const at = (destinationPort: number) => ({ sourcePort: 4000, destinationPort });
  const verdicts = [
    packets.tcp(api, at(8042)),
    packets.tcp(api, at(8043)),
    packets.udp(api, at(8042)),
    packets.tcp({ ...api, source: '10.201.3.5' }, at(8042)),
  ].map((packet) => fromGuest(packets.ethernet(packet)).verdict);
  expect(verdicts).toEqual([PASSED, DROPPED, DROPPED, DROPPED]);
  expect(drops()).toEqual({ guard: 2, 'source-address': 1 });
});

test('a resolver is reached on port 53, by UDP and TCP, and on no other', () => {
  const dns = { ...out, destination: '10.0.0.53' };
  const verdicts = [
    packets.udp(dns, { sourcePort: 4000, destinationPort: 53 }),
    packets.tcp(dns, { sourcePort: 4000, destinationPort: 53 }),
    packets.udp(dns, { sourcePort: 53, destinationPort: 54 }),
    packets.echo(dns, 'request', 53),
  ].map((packet) => fromGuest(packets.ethernet(packet)).verdict);
  expect(verdicts).toEqual([REDIRECTED, REDIRECTED, DROPPED, DROPPED]);
});

test('port 53 opens nothing but resolvers', () => {
  const dns = { sourcePort: 4000, destinationPort: 53 };
  for (const destination of ['169.254.169.254', '10.0.0.54']) {
    const packet = packets.udp({ ...out, destination }, dns);
    expect(fromGuest(packets.ethernet(packet)).verdict).toBe(DROPPED);
  }
});

test('a guest of an unknown policy reaches nothing', () => {
  vms.set({ number: NUMBER }, { ...vm, policy: POLICY + 1 });
  expect(fromGuest(packets.ethernet(packets.udp(out, ports))).verdict).toBe(DROPPED);
});

const good = packets.udp(out, ports);
test.each([
  ['another MAC', packets.ethernet(good, { source: '02:61:72:00:00:03' }), 'source-mac'],
  [
    'another address',
    packets.ethernet(packets.udp({ ...out, source: '10.201.3.5' }, ports)),
    'source-address',
  ],
  ['zeroes as IPv6', packets.ethernet(Buffer.alloc(60), { type: 0x86dd }), 'malformed'],
  [
    'a VLAN tag',
    packets.ethernet(Buffer.concat([Buffer.from('00010800', 'hex'), good]), { type: 0x8100 }),
    'ethertype',
  ],
  [
    'a source route',
    packets.ethernet(
      packets.ipv4(
        17,
        { ...out, options: Buffer.from('8307040a00000100', 'hex') },
        Buffer.alloc(20),
      ),
    ),
    'ip-options',
  ],
  ['a length beyond the frame', packets.ethernet(good).subarray(0, -1), 'malformed'],
  ['half a UDP header', packets.ethernet(packets.ipv4(17, out, Buffer.alloc(4))), 'malformed'],
  [
    'a fragment over the ports',
    packets.ethernet(packets.ipv4(17, { ...out, fragmentOffset: 8 }, Buffer.alloc(16))),
    'malformed',
  ],
  [
    'version 5',
    packets.ethernet(Buffer.concat([Buffer.from([0x55]), good.subarray(1)])),
    'malformed',
  ],
])('dropped from a guest: %s', (_, frame, reason) => {
  expect(fromGuest(frame).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ [reason]: 1 });
});

test('a guest that floods is held to its burst', () => {
  vms.set({ number: NUMBER }, { ...vm, rateBytes: 1, burstBytes: 3_000 });
  const frame = packets.ethernet(packets.udp(out, ports, Buffer.alloc(958)));
  expect(frame.length).toBe(1_000);
  const verdicts = Array.from({ length: 5 }, () => fromGuest(frame).verdict);
  expect(verdicts).toEqual([REDIRECTED, REDIRECTED, REDIRECTED, DROPPED, DROPPED]);
  expect(drops()).toEqual({ rate: 2 });
});

test('the link gives a packet the gateway’s address and the VM’s number and epoch', () => {
  const frame = packets.ethernet(packets.udp(out, ports));
  const { verdict, cb, frame: sent } = lab.run('host-link', { frame });
  expect({ verdict, tunnel: cb.slice(0, 3) }).toEqual({
    verdict: REDIRECTED,
    tunnel: [toInteger(GATEWAY), HERE_VNI, VXLAN],
  });
  const macs = { source: '02:61:64:40:00:02', destination: '02:61:64:40:00:01' };
  expect(sent).toEqual(packets.ethernet(packets.udp(out, ports), macs));
  expect(counters.sum({ number: NUMBER })).toMatchObject({ outPackets: 1, outBytes: frame.length });
});

const inward = { source: '198.51.100.9', destination: GUEST };
function fromTunnel(remote: string, vni: number, ip: packets.IpOptions = inward) {
  const frame = packets.ethernet(packets.udp(ip, ports));
  const { verdict, cb } = lab.run('host-vxlan', { frame, cb: [toInteger(remote), vni] });
  return { verdict, cb };
}

test('the gateway’s packet goes to the VM’s link, into the tap, with the guest’s MAC', () => {
  const { verdict, cb } = fromTunnel(GATEWAY, HERE_VNI);
  expect({ verdict, device: cb[2] }).toEqual({ verdict: REDIRECTED, device: LOOPBACK_IFINDEX });
  expect(counters.sum({ number: NUMBER })).toMatchObject({ inPackets: 1 });
  const packet = packets.udp(inward, ports);
  const frame = packets.ethernet(packet, {
    source: '02:00:00:00:00:09',
    destination: '02:00:00:00:00:08',
  });
  const uplink = lab.run('host-uplink', { frame });
  expect(uplink).toMatchObject({
    verdict: REDIRECTED,
    frame: packets.ethernet(packet, { source: packets.TAP_MAC, destination: packets.GUEST_MAC }),
  });
  expect(uplink.cb[2]).toBe(TAP);
});

test.each([
  ['somebody who is not the gateway', '100.64.0.7', HERE_VNI, inward, 'fenced'],
  ['the gateway, of another epoch', GATEWAY, NEXT_VNI, inward, 'fenced'],
  [
    'the gateway, for another guest',
    GATEWAY,
    HERE_VNI,
    { ...inward, destination: '10.201.3.5' },
    'destination',
  ],
])('dropped from the tunnel: %s', (_, remote, vni, ip, reason) => {
  expect(fromTunnel(remote, vni, ip).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ [reason]: 1 });
});

test('what the VM’s last host forwards is let in, and is not the gateway’s', () => {
  expect(fromTunnel('100.64.0.8', HERE_VNI).verdict).toBe(REDIRECTED);
  expect(counters.sum({ number: NUMBER })).toMatchObject({ inPackets: 0 });
});

test('the VM’s namespace may ask for the MAC of its way out, and nothing but IPv4 leaves it', () => {
  const request = packets.arpRequest({ sender: '169.254.2.2', target: '169.254.2.1' });
  expect(lab.run('host-link', { frame: request }).verdict).toBe(PASSED);
  const stranger = packets.ethernet(packets.udp({ ...out, source: '169.254.2.2' }, ports));
  expect(lab.run('host-link', { frame: stranger }).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ 'source-address': 1 });
});

test('what comes for a VM that has gone is sent after it', () => {
  vms.set({ number: NUMBER }, away);
  const { verdict, cb } = fromTunnel(GATEWAY, HERE_VNI);
  expect({ verdict, tunnel: cb.slice(0, 3) }).toEqual({
    verdict: REDIRECTED,
    tunnel: [toInteger('100.64.0.9'), NEXT_VNI, VXLAN],
  });
  expect(counters.sum({ number: NUMBER })).toMatchObject({ stragglerPackets: 1, inPackets: 1 });
});

test('frames left in the tap are written back to it, and go after the VM', () => {
  vms.set({ number: NUMBER }, away);
  const frame = packets.ethernet(packets.udp(inward, ports), {
    source: packets.TAP_MAC,
    destination: packets.GUEST_MAC,
  });
  expect(fromGuest(frame)).toMatchObject({ verdict: REDIRECTED, device: UP });
  const { cb } = lab.run('host-link', { frame });
  expect(cb.slice(0, 2)).toEqual([toInteger('100.64.0.9'), NEXT_VNI]);
});

test('a guest that is here cannot send as the tap', () => {
  const frame = packets.ethernet(packets.udp(inward, ports), { source: packets.TAP_MAC });
  expect(fromGuest(frame).verdict).toBe(DROPPED);
});

test('a VM that is not known sends and gets nothing', () => {
  vms.delete({ number: NUMBER });
  expect(fromGuest(packets.ethernet(good)).verdict).toBe(DROPPED);
  expect(fromTunnel(GATEWAY, HERE_VNI).verdict).toBe(DROPPED);
  expect(lab.run('host-link', { frame: packets.ethernet(good) }).verdict).toBe(DROPPED);
  expect(lab.run('host-uplink', { frame: packets.ethernet(good) }).verdict).toBe(DROPPED);
});
