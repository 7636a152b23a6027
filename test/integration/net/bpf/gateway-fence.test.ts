/** The gateway's fence, and packets that are more than a header and ports: fragments, ICMP errors. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { toInteger } from '../../../../host-agent/net/../protocol/ipv4-number.ts';
import {
  type GatewayLab,
  GUEST,
  HOST_A,
  HOST_B,
  NUMBER,
  openGatewayLab,
  PEER,
  PUBLIC,
  SLICE,
  vm,
  vni,
} from './gateway-lab.ts';
import { DROPPED, PASSED, REDIRECTED } from './lab.ts';
import * as packets from './packets.ts';

let lab: GatewayLab;
beforeEach(() => {
  lab = openGatewayLab();
});
afterEach(() => lab.close());

const out = { source: GUEST, destination: PEER };
const back = { source: PEER, destination: PUBLIC };
const ports = { sourcePort: 4_000, destinationPort: 53 };
const PUBLIC_PORT = SLICE.firstPort + (ports.sourcePort % SLICE.portCount);
const packet = packets.udp(out, ports);
const answer = packets.udp(back, { sourcePort: 53, destinationPort: PUBLIC_PORT });

function whoMaySend(): Record<string, boolean> {
  const hosts = { A: HOST_A, B: HOST_B };
  return Object.fromEntries(
    Object.entries(hosts).flatMap(([name, host]) =>
      [1, 2, 3].map((epoch) => [
        `${name}${epoch}`,
        lab.send(packet, { host, vni: vni(epoch) }).verdict === REDIRECTED,
      ]),
    ),
  );
}

function only(...names: readonly string[]): Record<string, boolean> {
  const all = ['A1', 'A2', 'A3', 'B1', 'B2', 'B3'];
  return Object.fromEntries(all.map((name) => [name, names.includes(name)]));
}

test('A → B → A: each host’s packets pass in its epoch, during a move those of both', () => {
  const at = (entry: Partial<typeof vm>) =>
    lab.tables.vms.set({ number: NUMBER }, { ...vm, ...entry });
  const B2 = { host: HOST_B, vni: vni(2) };
  expect(whoMaySend()).toEqual(only('A1'));
  at({ ...B2, previousHost: HOST_A, previousVni: vni(1) });
  expect(whoMaySend()).toEqual(only('A1', 'B2'));
  at(B2);
  expect(whoMaySend()).toEqual(only('B2'));
  at({ vni: vni(3), previousHost: HOST_B, previousVni: vni(2) });
  expect(whoMaySend()).toEqual(only('B2', 'A3'));
  at({ vni: vni(3) });
  expect(whoMaySend()).toEqual(only('A3'));
  expect(lab.drops().fenced).toBe(5 + 4 + 5 + 4 + 5);
});

test('answers go to the host of now', () => {
  lab.send(packet);
  expect(lab.receive(answer)).toMatchObject({ remote: toInteger(HOST_A), vni: vni(1) });
  lab.tables.vms.set(
    { number: NUMBER },
    { ...vm, host: HOST_B, vni: vni(2), previousHost: HOST_A },
  );
  expect(lab.receive(answer)).toMatchObject({ remote: toInteger(HOST_B), vni: vni(2) });
});

test('a parked VM’s packets are dropped', () => {
  lab.send(packet);
  lab.tables.vms.set({ number: NUMBER }, { ...vm, host: undefined, vni: 0 });
  expect(lab.receive(answer).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ parked: 1 });
  expect(whoMaySend()).toEqual(only());
});

test.each([
  [
    'another guest’s address',
    packets.udp({ ...out, source: '10.201.3.5' }, ports),
    'source-address',
  ],
  ['a TTL that ends here', packets.udp({ ...out, ttl: 1 }, ports), 'ttl'],
  ['GRE', packets.ipv4(47, out, Buffer.alloc(20)), 'protocol'],
  ['an ICMP redirect', packets.icmpError(out, packet, { type: 5 }), 'protocol'],
  ['an echo reply', packets.echo(out, 'reply', 1), 'protocol'],
  [
    'a fragment without its first',
    packets.ipv4(packets.UDP, { ...out, id: 9, fragmentOffset: 1_480 }, Buffer.alloc(100)),
    'fragment',
  ],
])('dropped from a guest: %s', (_, sent, reason) => {
  expect(lab.send(sent).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ [reason]: 1 });
});

/** Two fragments of a datagram, cut after its first 1,480 bytes. */
function fragmentsOf(ip: packets.IpOptions, datagram: Buffer): readonly [Buffer, Buffer] {
  const first = packets.ipv4(
    packets.UDP,
    { ...ip, moreFragments: true },
    datagram.subarray(0, 1_480),
  );
  const second = packets.ipv4(
    packets.UDP,
    { ...ip, fragmentOffset: 1_480 },
    datagram.subarray(1_480),
  );
  return [first, second];
}

function putTogether(frames: readonly Buffer[]) {
  const [first] = frames;
  if (first === undefined) throw new Error('no fragments');
  const { source, destination, sourcePort, destinationPort } = packets.readFrame(first);
  const datagram = Buffer.concat(frames.map((frame) => frame.subarray(34)));
  const headersHold = frames.every((frame) => packets.readFrame(frame).checksumsHold);
  const holds = headersHold && packets.datagramHolds({ source, destination }, datagram);
  const ends = new Set(
    frames.map((frame) =>
      JSON.stringify({ ...packets.readFrame(frame), data: 0, sourcePort: 0, destinationPort: 0 }),
    ),
  );
  return { source, destination, sourcePort, destinationPort, holds, sameEnds: ends.size === 1 };
}

test('fragments follow their first one, both ways', () => {
  const data = Buffer.from(Array.from({ length: 2_000 }, (_, n) => n % 251));
  const sent = fragmentsOf({ ...out, id: 7 }, packets.udpDatagram(out, ports, data));
  const outside = sent.map((one) => lab.send(one).frame);
  expect(putTogether(outside)).toEqual({
    source: PUBLIC,
    destination: PEER,
    sourcePort: PUBLIC_PORT,
    destinationPort: 53,
    holds: true,
    sameEnds: true,
  });
  const replyPorts = { sourcePort: 53, destinationPort: PUBLIC_PORT };
  const replies = fragmentsOf({ ...back, id: 8 }, packets.udpDatagram(back, replyPorts, data));
  const inside = replies.map((one) => lab.receive(one).frame);
  expect(putTogether(inside)).toMatchObject({
    destination: GUEST,
    destinationPort: 4_000,
    holds: true,
    sameEnds: true,
  });
});

test('a later fragment of another datagram does not follow', () => {
  const datagram = packets.udpDatagram(out, ports, Buffer.alloc(2_000));
  const [first] = fragmentsOf({ ...out, id: 7 }, datagram);
  const [, later] = fragmentsOf({ ...out, id: 8 }, datagram);
  expect([first, later].map((one) => lab.send(one).verdict)).toEqual([REDIRECTED, DROPPED]);
  expect(lab.drops()).toEqual({ fragment: 1 });
});

test('a later fragment from outside that nobody knows is the kernel’s', () => {
  const [, later] = fragmentsOf({ ...back, id: 8 }, Buffer.alloc(2_000));
  expect(lab.receive(later).verdict).toBe(PASSED);
});

const quoted = { udp: packets.udp, tcp: packets.tcp } as const;
test.each([
  ['udp', 28],
  ['udp', 33],
  ['tcp', 28],
  ['tcp', 40],
] as const)(
  'an error about a guest’s %s packet, of which %i bytes are quoted, reaches the guest',
  (protocol, quotedBytes) => {
    const sent = lab.send(quoted[protocol]({ ...out, ttl: 64 }, ports)).frame.subarray(14);
    const router = { source: '192.0.2.7', destination: PUBLIC };
    const { verdict, frame } = lab.receive(
      packets.icmpError(router, sent, { type: 11, code: 0, quotedBytes }),
    );
    expect(verdict).toBe(REDIRECTED);
    expect(packets.readFrame(frame)).toMatchObject({
      source: '192.0.2.7',
      destination: GUEST,
      checksumsHold: true,
    });
    expect(packets.readIp(frame.subarray(14 + 28))).toMatchObject({
      source: GUEST,
      destination: PEER,
      ...ports,
      checksumsHold: true,
    });
  },
);

test('an error about a guest’s ping reaches the guest', () => {
  const sent = lab.send(packets.echo(out, 'request', 4_000)).frame.subarray(14);
  const { frame } = lab.receive(
    packets.icmpError(back, sent, { type: 11, code: 0, quotedBytes: sent.length }),
  );
  expect(packets.readFrame(frame)).toMatchObject({ destination: GUEST, checksumsHold: true });
  expect(packets.readIp(frame.subarray(14 + 28))).toMatchObject({
    source: GUEST,
    sourcePort: 4_000,
    checksumsHold: true,
  });
});

test('a guest’s error about an answer names the public side', () => {
  lab.send(packet);
  const received = lab.receive(answer).frame.subarray(14);
  const { verdict, frame } = lab.send(packets.icmpError(out, received, { quotedBytes: 28 + 5 }));
  expect(verdict).toBe(REDIRECTED);
  expect(packets.readFrame(frame)).toMatchObject({
    source: PUBLIC,
    destination: PEER,
    checksumsHold: true,
  });
  expect(packets.readIp(frame.subarray(14 + 28))).toMatchObject({
    source: PEER,
    destination: PUBLIC,
    destinationPort: PUBLIC_PORT,
    checksumsHold: true,
  });
});

test('an error about a flow that nobody has is the kernel’s, or dropped from a guest', () => {
  const unknown = packets.udp(
    { source: PUBLIC, destination: PEER },
    { sourcePort: PUBLIC_PORT, destinationPort: 53 },
  );
  expect(lab.receive(packets.icmpError(back, unknown)).verdict).toBe(PASSED);
  const never = packets.udp(
    { source: PEER, destination: GUEST },
    { sourcePort: 53, destinationPort: 4_000 },
  );
  expect(lab.send(packets.icmpError(out, never)).verdict).toBe(DROPPED);
  expect(lab.drops()).toEqual({ 'no-flow': 1 });
});
