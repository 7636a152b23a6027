/** The host's programs and IPv6: the guard, neighbour discovery, tunnels; hostile guests. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { HostVmEntry } from '../../../../host-agent/net/bpf/abi.ts';
import { nameDrops } from '../../../../host-agent/net/bpf/drop-reasons.ts';
import { planGuardPrefixes6 } from '../../../../host-agent/net/bpf/guard6-plan.ts';
import { type HostTables, openHostTables } from '../../../../host-agent/net/bpf/host-tables.ts';
import { vniOf } from '../../../../host-agent/net/vni.ts';
import { toInteger } from '../../../../host-agent/protocol/ipv4-number.ts';
import { DROPPED, type Lab, openLab, REDIRECTED } from './lab.ts';
import { ethernet, GUEST_MAC, TAP_MAC } from './packets.ts';
import * as packets from './packets6.ts';

const NUMBER = 77;
const POLICY = 4;
const GUEST = '10.201.3.4';
const INSIDE = 'fd61:7200::ac9:304';
const GATEWAY = '100.64.0.1';
const NEXT_HOST = '100.64.0.9';
const HERE_VNI = vniOf({ number: NUMBER, epoch: 5 });
const NEXT_VNI = vniOf({ number: NUMBER, epoch: 6 });
const [LOOPBACK_IFINDEX, VXLAN, UP, TAP] = [1, 40, 41, 42];
const IPV6 = { type: 0x86dd };

const vm: HostVmEntry = {
  rateBytes: 0,
  burstBytes: 0,
  vni: HERE_VNI,
  gateway: GATEWAY,
  forwardHost: undefined,
  forwardVni: 0,
  stragglerSource: undefined,
  guestAddress: GUEST,
  policy: POLICY,
  linkIfindex: LOOPBACK_IFINDEX,
  upIfindex: UP,
  tapIfindex: TAP,
  guestMac: GUEST_MAC,
};
const away = { ...vm, forwardHost: NEXT_HOST, forwardVni: NEXT_VNI };
const out = { source: INSIDE, destination: '2001:db8:9::9' };
const inward = { source: '2001:db8:9::9', destination: INSIDE };
const ports = { sourcePort: 4_000, destinationPort: 443 };

let lab: Lab;
let all: HostTables;

beforeAll(() => {
  lab = openLab(['host-tap', 'host-uplink', 'host-link', 'host-vxlan'], NUMBER);
  all = openHostTables(lab.maps);
  all.config.set({ index: 0 }, { vxlanIfindex: VXLAN, underlay: '100.64.0.2' });
  const plan = planGuardPrefixes6({ never: ['2600:1f00::/24'], allow: ['fd12::/16'] });
  for (const { address, bits, pass } of plan) {
    const key = { prefixBits: 32 + bits, policy: POLICY, address };
    all.guard6.set(key, { pass: Number(pass), dns: 0 });
  }
});
beforeEach(() => {
  all.vms.set({ number: NUMBER }, vm);
  all.counters.delete({ number: NUMBER });
  all.counters.ensure({ number: NUMBER });
});
afterAll(() => lab.close());

function fromGuest(packet: Buffer, from = GUEST_MAC) {
  const frame = ethernet(packet, { ...IPV6, source: from });
  const { verdict, cb, frame: sent } = lab.run('host-tap', { frame });
  return { verdict, device: cb[2], sent };
}

function drops() {
  return nameDrops(all.counters.sum({ number: NUMBER })?.drops ?? []);
}

test.each(['2001:db8:9::9', '2606:4700::1111', 'fd12::7'])(
  'a packet to %s goes to the link, unchanged',
  (destination) => {
    const packet = packets.udp({ ...out, destination }, ports);
    const sent = ethernet(packet, IPV6);
    expect(fromGuest(packet)).toEqual({ verdict: REDIRECTED, device: UP, sent });
  },
);

test.each([
  'fd00:ec2::254',
  'fd20:ce::254',
  '::ffff:169.254.169.254',
  '64:ff9b::a9fe:a9fe',
  '2002:a9fe:a9fe::',
  'fe80::1',
  'fd99::1',
  'fd61:7200::10.201.3.5',
  'ff02::1',
  '::1',
  '::',
  '2600:1f00::1',
])('%s is not reached', (destination) => {
  expect(fromGuest(packets.udp({ ...out, destination }, ports)).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ guard: 1 });
});

test('a guest of an unknown policy reaches nothing', () => {
  all.vms.set({ number: NUMBER }, { ...vm, policy: POLICY + 1 });
  expect(fromGuest(packets.udp(out, ports)).verdict).toBe(DROPPED);
});

const own = 'fe80::61:72ff:fe63:6801';
/** RFC 4861, 4.3. */
function solicitation({
  source = own,
  target = 'fe80::1',
  hopLimit = 255,
  option = Buffer.from('0101026172000002', 'hex'),
} = {}) {
  const body = Buffer.concat([packets.bytesOf(target), option]);
  return packets.icmp({ source, destination: 'ff02::1:ff00:1', hopLimit }, { type: 135, body });
}

test.each([
  ['', own, solicitation()],
  [
    ' by its own address, without the option',
    INSIDE,
    solicitation({ source: INSIDE, option: Buffer.alloc(0) }),
  ],
])('the default route’s MAC is told to whoever asks%s', (_, asker, question) => {
  const { verdict, device, sent } = fromGuest(question);
  expect({ verdict, device }).toEqual({ verdict: REDIRECTED, device: TAP });
  const answer = packets.readFrame6(sent);
  expect(answer).toMatchObject({ source: 'fe80::1', destination: asker, hopLimit: 255, next: 58 });
  expect(answer.checksumHolds).toBe(true);
  const mac = TAP_MAC.replaceAll(':', '');
  const fields = [
    '8800',
    '....',
    'e0000000',
    packets.bytesOf('fe80::1').toString('hex'),
    `0201${mac}`,
  ];
  expect(answer.body.toString('hex')).toMatch(new RegExp(`^${fields.join('')}$`));
  expect(sent.subarray(0, 14).toString('hex')).toBe(`${GUEST_MAC.replaceAll(':', '')}${mac}86dd`);
});

test('the answer’s checksum holds where a carry makes another carry', () => {
  // The program sums words as the processor reads them, low byte first.
  const ask = (last: number) => {
    const group = (last % 256) * 256 + Math.floor(last / 256);
    const source = `fe80::61:72ff:fe63:${group.toString(16)}`;
    return packets.readFrame6(fromGuest(solicitation({ source })).sent);
  };
  // As much as the sum lacks to be all ones.
  const lacking = ask(0).body.readUInt16LE(2);
  const around = Array.from({ length: 33 }, (_, n) => (lacking + n - 16) % 0x10000);
  expect(around.filter((last) => !ask(last).checksumHolds)).toEqual([]);
});

const claim = Buffer.concat([packets.bytesOf('fe80::1'), Buffer.from('0201026172000002', 'hex')]);
test.each([
  ['another’s MAC asked for', solicitation({ target: 'fe80::2' }), 'discovery'],
  ['duplicate detection', solicitation({ source: '::' }), 'discovery'],
  ['a question from afar', solicitation({ hopLimit: 64 }), 'discovery'],
  [
    'half a question',
    packets.ipv6(
      58,
      { source: own, destination: 'fe80::1', hopLimit: 255 },
      Buffer.from('8700000000000000', 'hex'),
    ),
    'malformed',
  ],
  [
    'the default route claimed',
    packets.icmp({ source: own, destination: 'ff02::1' }, { type: 136, body: claim }),
    'discovery',
  ],
  [
    'a router advertisement',
    packets.icmp({ source: own, destination: 'ff02::1' }, { type: 134 }),
    'discovery',
  ],
  [
    'a router solicitation',
    packets.icmp({ source: own, destination: 'ff02::2' }, { type: 133 }),
    'discovery',
  ],
  ['a redirect', packets.icmp(out, { type: 137 }), 'discovery'],
  [
    'a multicast report',
    packets.icmp({ source: own, destination: 'ff02::16' }, { type: 143 }),
    'discovery',
  ],
  ['from its link-local address', packets.udp({ ...out, source: own }, ports), 'source-address'],
  [
    'as another guest',
    packets.udp({ ...out, source: 'fd61:7200::ac9:305' }, ports),
    'source-address',
  ],
  ['hop-by-hop options', packets.ipv6(0, out, Buffer.alloc(16)), 'extension'],
  ['a routing header', packets.ipv6(43, out, Buffer.alloc(16)), 'extension'],
  [
    'discovery behind options',
    packets.ipv6(
      60,
      { source: own, destination: 'fe80::1' },
      Buffer.concat([Buffer.from('3a00010400000000', 'hex'), solicitation().subarray(40)]),
    ),
    'extension',
  ],
  ['a length beyond the frame', packets.udp(out, ports).subarray(0, -1), 'malformed'],
])('dropped from a guest: %s', (_, packet, reason) => {
  expect(fromGuest(packet).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ [reason]: 1 });
});

test('discovery in fragments is none', () => {
  const bytes = solicitation().subarray(40);
  const ip = { source: own, destination: 'ff02::1:ff00:1', hopLimit: 255 };
  const packet = packets.fragment(ip, { bytes, offset: 0, isLast: true }, { next: 58 });
  expect(fromGuest(packet).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ 'source-address': 1 });
});

test('dropped from another MAC', () => {
  expect(fromGuest(packets.udp(out, ports), '02:61:72:00:00:03').verdict).toBe(DROPPED);
  expect(drops()).toEqual({ 'source-mac': 1 });
});

test('a guest that floods is held to its burst', () => {
  all.vms.set({ number: NUMBER }, { ...vm, rateBytes: 1, burstBytes: 3_000 });
  const packet = packets.udp(out, ports, Buffer.alloc(938));
  all.buckets.set({ number: NUMBER }, { tokens: 3_000, filledNs: 0 });
  const verdicts = Array.from({ length: 4 }, () => fromGuest(packet).verdict);
  expect(verdicts).toEqual([REDIRECTED, REDIRECTED, REDIRECTED, DROPPED]);
  expect(drops()).toEqual({ rate: 1 });
});

function throughLink(packet: Buffer) {
  const { verdict, cb } = lab.run('host-link', { frame: ethernet(packet, IPV6) });
  return { verdict, tunnel: cb.slice(0, 3) };
}

test('the link gives a packet the gateway’s address and the VM’s number and epoch', () => {
  expect(throughLink(packets.udp(out, ports))).toEqual({
    verdict: REDIRECTED,
    tunnel: [toInteger(GATEWAY), HERE_VNI, VXLAN],
  });
  expect(all.counters.sum({ number: NUMBER })).toMatchObject({ outPackets: 1 });
  expect(throughLink(packets.udp({ ...out, source: 'fe80::2:2' }, ports)).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ 'source-address': 1 });
});

function fromTunnel(remote: string, vni: number, ip: packets.Ip6Options = inward) {
  const frame = ethernet(packets.udp(ip, ports), IPV6);
  return lab.run('host-vxlan', { frame, cb: [toInteger(remote), vni] });
}

test('the gateway’s packet goes to the VM’s link, into the tap, with the guest’s MAC', () => {
  const { verdict, cb } = fromTunnel(GATEWAY, HERE_VNI);
  expect({ verdict, device: cb[2] }).toEqual({ verdict: REDIRECTED, device: LOOPBACK_IFINDEX });
  const packet = packets.udp(inward, ports);
  const uplink = lab.run('host-uplink', { frame: ethernet(packet, IPV6) });
  expect(uplink).toMatchObject({
    verdict: REDIRECTED,
    frame: ethernet(packet, { ...IPV6, source: TAP_MAC, destination: GUEST_MAC }),
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
    { ...inward, destination: 'fd61:7200::ac9:305' },
    'destination',
  ],
  [
    'the gateway, for the guest under another prefix',
    GATEWAY,
    HERE_VNI,
    { ...inward, destination: '2001:db8::ac9:304' },
    'destination',
  ],
])('dropped from the tunnel: %s', (_, remote, vni, ip, reason) => {
  expect(fromTunnel(remote, vni, ip).verdict).toBe(DROPPED);
  expect(drops()).toEqual({ [reason]: 1 });
});

test('what comes for a VM that has gone, or was left in its tap, is sent after it', () => {
  all.vms.set({ number: NUMBER }, away);
  const after = [toInteger(NEXT_HOST), NEXT_VNI, VXLAN];
  expect(fromTunnel(GATEWAY, HERE_VNI).cb.slice(0, 3)).toEqual(after);
  const left = packets.udp(inward, ports);
  expect(fromGuest(left, TAP_MAC)).toMatchObject({ verdict: REDIRECTED, device: UP });
  expect(throughLink(left)).toEqual({ verdict: REDIRECTED, tunnel: after });
  expect(
    fromGuest(packets.udp({ ...inward, destination: '2001:db8::1' }, ports), TAP_MAC).verdict,
  ).toBe(DROPPED);
});
