/** A gateway's IPv6: the prefix exchanged, and who may come in; hostile packets on both sides. */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { forgetFlows } from '../../../../host-agent/net/bpf/flows.ts';
import {
  flattenIdleSeconds,
  LINUX_IDLE_SECONDS,
} from '../../../../host-agent/net/bpf/idle-flows.ts';
import { publicGroups } from '../../../../host-agent/net/guest-ipv6.ts';
import { toInteger } from '../../../../host-agent/protocol/ipv4-number.ts';
import { fromGroups, toGroups } from '../../../../host-agent/protocol/ipv6-groups.ts';
import {
  type GatewayLab,
  GUEST,
  HOST_A,
  HOST_B,
  MTU,
  NUMBER,
  OUTSIDE,
  openGatewayLab,
  vm,
  vni,
} from './gateway-lab.ts';
import { DROPPED, PASSED, REDIRECTED } from './lab.ts';
import { FIN, SYN } from './packets.ts';
import * as packets from './packets6.ts';

const INSIDE = canonical(`fd61:7200::${GUEST}`);
const PUBLIC = canonical(`2001:db8:1:0:41a8::${GUEST}`);
const PEER = '2001:db8:9::9';
const out = { source: INSIDE, destination: PEER };
const back = { source: PEER, destination: PUBLIC };
const ports = { sourcePort: 4_000, destinationPort: 443 };
const replyPorts = { sourcePort: 443, destinationPort: 4_000 };
const UDP_OUT = packets.udp(out, ports);
const UDP_BACK = packets.udp(back, replyPorts);

/** One for all tests: its maps take a while to make. */
let lab: GatewayLab;
beforeAll(() => {
  lab = openGatewayLab();
});
beforeEach(() => {
  lab.configure({});
  lab.tables.vms.set({ number: NUMBER }, vm);
  forgetFlows(lab.tables, NUMBER);
  lab.tables.counters.delete({ number: NUMBER });
  lab.tables.counters.ensure({ number: NUMBER });
});
afterAll(() => lab.close());

function canonical(address: string): string {
  return fromGroups(toGroups(address));
}

describe.each([
  ['UDP', UDP_OUT, UDP_BACK],
  ['TCP', packets.tcp(out, ports), packets.tcp(back, replyPorts)],
  ['echo', packets.echo(out, packets.ECHO_REQUEST, 77), packets.echo(back, packets.ECHO_REPLY, 77)],
])('%s', (_, packet, answer) => {
  test('leaves from the public prefix, checksums right and nothing else changed', () => {
    const { verdict, cb, frame } = lab.send(packet);
    expect({ verdict, device: cb[2] }).toEqual({ verdict: REDIRECTED, device: OUTSIDE });
    const sent = packets.readFrame6(frame);
    const wanted = { ...packets.readIp6(packet), source: PUBLIC, hopLimit: 63 };
    expect(sent).toEqual(wanted);
    expect(sent.checksumHolds).toBe(true);
  });

  test('is answered at the guest’s host of now, and comes in by no other way', () => {
    expect(lab.receive(answer).verdict).toBe(DROPPED);
    lab.send(packet);
    const { verdict, frame, remote, vni: id } = lab.receive(answer);
    expect({ verdict, remote, vni: id }).toEqual({
      verdict: REDIRECTED,
      remote: toInteger(HOST_A),
      vni: vni(1),
    });
    const got = packets.readFrame6(frame);
    expect(got).toEqual({ ...packets.readIp6(answer), destination: INSIDE, hopLimit: 63 });
    expect(got.checksumHolds).toBe(true);
    lab.tables.vms.set({ number: NUMBER }, { ...vm, host: HOST_B, vni: vni(2) });
    expect(lab.receive(answer)).toMatchObject({ remote: toInteger(HOST_B), vni: vni(2) });
    expect(lab.drops()).toEqual({ 'no-flow': 1 });
  });
});

test('checksums are right whatever the prefix, the guest and the packet', () => {
  const group = fc.integer({ min: 0, max: 0xffff });
  const property = fc.property(
    fc.array(group, { minLength: 4, maxLength: 4 }),
    fc.record({ sourcePort: group, destinationPort: group }),
    fc.uint8Array({ maxLength: 64 }),
    (prefix, both, data) => {
      fc.pre(prefix[0] !== 0);
      const text = fromGroups([...prefix, 0, 0, 0, 0]);
      lab.configure({ public6: publicGroups(`${text}/64`) });
      const { frame } = lab.send(packets.udp(out, both, Buffer.from(data)));
      const sent = packets.readFrame6(frame);
      expect(toGroups(sent.source).slice(0, 4)).toEqual(prefix);
      expect(sent.checksumHolds).toBe(true);
    },
  );
  fc.assert(property);
});

test('a gateway without a prefix drops what guests send, and leaves the rest to the kernel', () => {
  lab.configure({ public6: [] });
  expect(lab.send(UDP_OUT).verdict).toBe(DROPPED);
  expect(lab.receive(UDP_BACK).verdict).toBe(PASSED);
  expect(lab.drops()).toEqual({ ipv6: 1 });
});

test('only the host that holds the VM, in that epoch, is heard', () => {
  expect(lab.send(UDP_OUT, { host: HOST_B }).verdict).toBe(DROPPED);
  expect(lab.send(UDP_OUT, { vni: vni(2) }).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ fenced: 2 });
});

const segments = Buffer.concat([Buffer.from('3b00010400000000', 'hex'), UDP_OUT.subarray(40)]);
test.each([
  [
    'another guest’s source',
    packets.udp({ ...out, source: 'fd61:7200::1' }, ports),
    'source-address',
  ],
  [
    'a source under another prefix',
    packets.udp({ ...out, source: PUBLIC }, ports),
    'source-address',
  ],
  [
    'another VM’s public address',
    packets.udp({ ...out, destination: '2001:db8:1:0:41a8::1' }, ports),
    'guard',
  ],
  ['the last hop', packets.udp({ ...out, hopLimit: 1 }, ports), 'ttl'],
  ['hop-by-hop options', packets.ipv6(0, out, segments), 'extension'],
  ['a routing header', packets.ipv6(43, out, segments), 'extension'],
  ['destination options', packets.ipv6(60, out, segments), 'extension'],
  ['nothing behind the header', packets.ipv6(59, out, Buffer.alloc(8)), 'extension'],
  ['IPv4 inside', packets.ipv6(4, out, Buffer.alloc(40)), 'extension'],
  [
    'a routing header in a fragment',
    packets.fragment(out, { bytes: segments, offset: 0, isLast: false }, { next: 43 }),
    'extension',
  ],
  [
    'a fragment in a fragment',
    packets.fragment(out, { bytes: segments, offset: 0, isLast: false }, { next: 44 }),
    'extension',
  ],
  [
    'a later fragment of no protocol',
    packets.fragment(out, { bytes: segments, offset: 8, isLast: true }, { next: 43 }),
    'extension',
  ],
  ['half a UDP header', packets.ipv6(17, out, Buffer.alloc(4)), 'malformed'],
  ['half a TCP header', packets.ipv6(6, out, Buffer.alloc(10)), 'malformed'],
  ['a length beyond the frame', UDP_OUT.subarray(0, -1), 'malformed'],
  ['half a fragment header', packets.ipv6(44, out, Buffer.alloc(4)), 'malformed'],
  ['version 7', Buffer.concat([Buffer.from([0x70]), UDP_OUT.subarray(1)]), 'malformed'],
  ['an echo reply that nobody asked for', packets.echo(out, packets.ECHO_REPLY, 1), 'protocol'],
  ['a router advertisement', packets.icmp(out, { type: 134 }), 'protocol'],
  ['a redirect', packets.icmp(out, { type: 137 }), 'protocol'],
  ['a node query', packets.icmp(out, { type: 139 }), 'protocol'],
])('dropped from a guest: %s', (_, packet, reason) => {
  expect(lab.send(packet).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ [reason]: 1 });
  expect(lab.tables.flows6.keys()).toEqual([]);
});

test.each([
  ['another port', packets.udp(back, { ...replyPorts, destinationPort: 4_001 }), 'no-flow'],
  ['another peer', packets.udp({ ...back, source: '2001:db8:9::8' }, replyPorts), 'no-flow'],
  ['another protocol', packets.tcp(back, replyPorts), 'no-flow'],
  ['an echo request', packets.echo(back, packets.ECHO_REQUEST, 4_000), 'protocol'],
  ['a router advertisement', packets.icmp(back, { type: 134 }), 'protocol'],
  ['a redirect', packets.icmp(back, { type: 137 }), 'protocol'],
  ['a routing header', packets.ipv6(43, back, segments), 'extension'],
  [
    'a later fragment alone',
    packets.fragment(back, { bytes: Buffer.alloc(16), offset: 1_232, isLast: true }, { id: 99 }),
    'fragment',
  ],
  ['the last hop', packets.udp({ ...back, hopLimit: 1 }, replyPorts), 'ttl'],
])('dropped from outside: %s', (_, packet, reason) => {
  lab.send(UDP_OUT);
  expect(lab.receive(packet).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ [reason]: 1 });
});

test('addresses of the prefix that are no VM’s are dropped, others are the gateway’s own', () => {
  const to = (destination: string) =>
    lab.receive(packets.udp({ ...back, destination }, replyPorts)).verdict;
  lab.send(UDP_OUT);
  expect(['2001:db8:1::1', '2001:db8:1:0:41a8::1', `2001:db8:1:0:41a9::${GUEST}`].map(to)).toEqual([
    DROPPED,
    DROPPED,
    DROPPED,
  ]);
  expect(['2001:db8:2::1', 'fe80::1', INSIDE].map(to)).toEqual([PASSED, PASSED, PASSED]);
});

test('a parked VM’s packets are dropped', () => {
  lab.send(UDP_OUT);
  lab.tables.vms.set({ number: NUMBER }, { ...vm, host: undefined, vni: 0 });
  expect(lab.receive(UDP_BACK).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ parked: 1 });
});

test('“packet too big” about the guest’s packet reaches it, and quotes what it sent', () => {
  const sent = lab.send(UDP_OUT).frame.subarray(14);
  const router = { source: '2001:db8:5::1', destination: PUBLIC };
  const error = packets.icmp(router, { type: 2, word: 1_280, body: sent });
  const { verdict, frame } = lab.receive(error);
  expect(verdict).toBe(REDIRECTED);
  const got = packets.readFrame6(frame);
  expect(got).toMatchObject({ destination: INSIDE, checksumHolds: true });
  expect(got.body.readUInt32BE(4)).toBe(1_280);
  expect(packets.readIp6(got.body.subarray(8))).toMatchObject({
    source: INSIDE,
    checksumHolds: true,
  });
});

const quoting = (about: Buffer, destination = PUBLIC) =>
  packets.icmp({ source: PEER, destination }, { type: 1, body: about });
test.each([
  [
    'about a flow that is not there',
    quoting(packets.udp({ source: PUBLIC, destination: PEER }, { ...ports, sourcePort: 9 })),
    'no-flow',
  ],
  [
    'about another’s packet',
    quoting(packets.udp({ source: '2001:db8:1:0:41a8::1', destination: PEER }, ports)),
    'destination',
  ],
  ['about half a packet', quoting(UDP_OUT.subarray(0, 44)), 'malformed'],
  [
    'about a fragment',
    quoting(
      packets.fragment(
        { source: PUBLIC, destination: PEER },
        { bytes: Buffer.alloc(16), offset: 8, isLast: true },
      ),
    ),
    'extension',
  ],
])('an error from outside is dropped: %s', (_, error, reason) => {
  lab.send(UDP_OUT);
  expect(lab.receive(error).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ [reason]: 1 });
});

test('the guest’s “port unreachable” leaves, and quotes what the peer sent', () => {
  lab.send(UDP_OUT);
  const got = lab.receive(UDP_BACK).frame.subarray(14);
  const { verdict, frame } = lab.send(packets.icmp(out, { type: 1, body: got }));
  expect(verdict).toBe(REDIRECTED);
  const sent = packets.readFrame6(frame);
  expect(sent).toMatchObject({ source: PUBLIC, checksumHolds: true });
  expect(packets.readIp6(sent.body.subarray(8))).toMatchObject({
    destination: PUBLIC,
    checksumHolds: true,
  });
});

test.each([
  [
    'about another’s packet',
    packets.udp({ source: PEER, destination: 'fd61:7200::1' }, replyPorts),
    'protocol',
  ],
  [
    'about a flow that is not there',
    packets.udp({ source: PEER, destination: INSIDE }, replyPorts),
    'no-flow',
  ],
])('an error from a guest is dropped: %s', (_, about, reason) => {
  expect(lab.send(packets.icmp(out, { type: 1, body: about })).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ [reason]: 1 });
});

test('fragments follow their first one, both ways, and make the datagram whole again', () => {
  const cut = (ip: packets.Ip6Options, of: packets.Ports) => {
    const datagram = packets.udpDatagram(ip, of, Buffer.alloc(1_600, 'abc'));
    const first = { bytes: datagram.subarray(0, 1_232), offset: 0, isLast: false };
    const last = { bytes: datagram.subarray(1_232), offset: 1_232, isLast: true };
    return [packets.fragment(ip, first), packets.fragment(ip, last)] as const;
  };
  const join = (frames: readonly Buffer[]) => {
    const read = frames.map((frame) => packets.readFrame6(frame));
    const datagram = Buffer.concat(read.map(({ body }) => body.subarray(8)));
    const [{ source = '', destination = '' } = {}] = read;
    const whole = packets.readIp6(packets.ipv6(17, { source, destination }, datagram));
    return { source, destination, checksumHolds: whole.checksumHolds };
  };
  const sent = cut(out, ports).map((packet) => lab.send(packet));
  expect(sent.map(({ verdict }) => verdict)).toEqual([REDIRECTED, REDIRECTED]);
  expect(join(sent.map(({ frame }) => frame))).toEqual({
    ...{ source: PUBLIC, destination: PEER },
    checksumHolds: true,
  });
  const got = cut(back, replyPorts).map((packet) => lab.receive(packet));
  expect(got.map(({ verdict }) => verdict)).toEqual([REDIRECTED, REDIRECTED]);
  expect(join(got.map(({ frame }) => frame))).toEqual({
    ...{ source: PEER, destination: INSIDE },
    checksumHolds: true,
  });
});

test('too much for the tunnel goes to the kernel, which tells the peer; unasked it is dropped', () => {
  const fill = (bytes: number) => packets.udp(back, replyPorts, Buffer.alloc(bytes - 48));
  expect(lab.receive(fill(MTU + 1)).verdict).toBe(DROPPED);
  lab.send(UDP_OUT);
  const { verdict, frame } = lab.receive(fill(MTU + 1));
  expect(verdict).toBe(PASSED);
  expect(packets.readFrame6(frame).destination).toBe(PUBLIC);
  expect(lab.receive(fill(MTU)).verdict).toBe(REDIRECTED);
});

test('a flow that has been silent for too long in its state is over', () => {
  const { tcp, ...others } = LINUX_IDLE_SECONDS;
  const idleSeconds = flattenIdleSeconds({ ...others, tcp: { ...tcp, closing: 0 } });
  lab.configure({ idleSeconds });
  const answer = packets.tcp(back, replyPorts);
  lab.send(packets.tcp(out, { ...ports, flags: SYN }));
  expect(lab.receive(answer).verdict).toBe(REDIRECTED);
  lab.send(packets.tcp(out, { ...ports, flags: FIN }));
  expect(lab.receive(answer).verdict).toBe(DROPPED);
});

test('a flow belongs to its VM, and goes with it', () => {
  lab.send(UDP_OUT);
  const [key] = lab.tables.flows6.keys();
  expect(key).toEqual({
    peer: PEER,
    guestAddress: GUEST,
    guestPort: 4_000,
    peerPort: 443,
    protocol: 17,
  });
  forgetFlows(lab.tables, NUMBER);
  expect(lab.tables.flows6.keys()).toEqual([]);
});
