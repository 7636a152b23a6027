/** The gateway's address translation: flows out and back, ports, states, counters. */
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NAT_STATES } from '../../../../host-agent/net/bpf/abi.ts';
import { exportFlows, forgetFlows, importFlow } from '../../../../host-agent/net/bpf/flows.ts';
import { putServices } from '../../../../host-agent/net/bpf/services.ts';
import { fromInteger, toInteger } from '../../../../host-agent/protocol/ipv4-number.ts';
import {
  type GatewayLab,
  GUEST,
  HOST_A,
  NUMBER,
  OUTSIDE,
  openGatewayLab,
  PEER,
  PUBLIC,
  SLICE,
  VXLAN,
  vm,
} from './gateway-lab.ts';
import { DROPPED, PASSED, REDIRECTED } from './lab.ts';
import * as packets from './packets.ts';

/** As bpf/gateway-maps.h. */
const FLOWS = 262_144;

let lab: GatewayLab;
beforeEach(() => {
  lab = openGatewayLab();
});
afterEach(() => lab.close());

const out = { source: GUEST, destination: PEER };
const back = { source: PEER, destination: PUBLIC };

function publicPortOf(packet: Buffer): number {
  const { verdict, frame } = lab.send(packet);
  expect(verdict).toBe(REDIRECTED);
  return packets.readFrame(frame).sourcePort;
}

function udpFrom(sourcePort: number, destination = PEER, destinationPort = 53): Buffer {
  return packets.udp({ source: GUEST, destination }, { sourcePort, destinationPort });
}

const PROTOCOLS = ['tcp', 'udp', 'udp without checksum', 'icmp'] as const;
const flows = fc.record({
  protocol: fc.constantFrom(...PROTOCOLS),
  guestPort: fc.integer({ min: 1, max: 65_535 }),
  peerPort: fc.integer({ min: 1, max: 65_535 }),
  peer: fc
    .tuple(fc.integer({ min: 1, max: 223 }), fc.nat(255), fc.nat(255), fc.nat(255))
    .map((parts) => parts.join('.')),
  data: fc.uint8Array({ maxLength: 1_400 }).map((bytes) => Buffer.from(bytes)),
  ttl: fc.integer({ min: 2, max: 255 }),
});

function build(
  protocol: (typeof PROTOCOLS)[number],
  ip: packets.IpOptions,
  ports: packets.Ports,
  { data, reply }: { data: Buffer; reply: boolean },
): Buffer {
  if (protocol === 'tcp') return packets.tcp(ip, ports, data);
  if (protocol === 'icmp') {
    return packets.echo(
      ip,
      reply ? 'reply' : 'request',
      reply ? ports.destinationPort : ports.sourcePort,
      data,
    );
  }
  const datagram = packets.udpDatagram(ip, ports, data, protocol === 'udp');
  return packets.ipv4(packets.UDP, ip, datagram);
}

test('whatever a guest sends comes back to where it was sent from, and every checksum holds', () => {
  fc.assert(
    fc.property(flows, ({ protocol, guestPort, peerPort, peer, data, ttl }) => {
      forgetFlows(lab.tables, NUMBER);
      const sent = build(
        protocol,
        { source: GUEST, destination: peer, ttl },
        { sourcePort: guestPort, destinationPort: peerPort },
        { data, reply: false },
      );
      const { verdict, frame, cb } = lab.send(sent);
      const outside = packets.readFrame(frame);
      expect({ verdict, device: cb[2] }).toEqual({ verdict: REDIRECTED, device: OUTSIDE });
      expect(outside).toMatchObject({
        source: PUBLIC,
        destination: peer,
        ttl: ttl - 1,
        data,
        checksumsHold: true,
      });
      expect(outside.sourcePort).toBe(SLICE.firstPort + (guestPort % SLICE.portCount));

      const answer = build(
        protocol,
        { source: peer, destination: PUBLIC, ttl },
        { sourcePort: peerPort, destinationPort: outside.sourcePort },
        { data, reply: true },
      );
      const received = lab.receive(answer);
      expect(received).toMatchObject({
        verdict: REDIRECTED,
        remote: toInteger(HOST_A),
        vni: vm.vni,
        device: VXLAN,
      });
      expect(packets.readFrame(received.frame)).toMatchObject({
        source: peer,
        destination: GUEST,
        destinationPort: guestPort,
        ttl: ttl - 1,
        data,
        checksumsHold: true,
      });
    }),
    { numRuns: 300 },
  );
});

test('flows to one peer never share a port, the same flow keeps its own', () => {
  const ports = fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(ports, (guestPorts) => {
      forgetFlows(lab.tables, NUMBER);
      const given = guestPorts.map((port) => publicPortOf(udpFrom(port)));
      expect(new Set(given).size).toBe(guestPorts.length);
      for (const port of given) {
        expect(port).toBeGreaterThanOrEqual(SLICE.firstPort);
        expect(port).toBeLessThan(SLICE.firstPort + SLICE.portCount);
      }
      expect(guestPorts.map((port) => publicPortOf(udpFrom(port)))).toEqual(given);
    }),
    { numRuns: 100 },
  );
});

test('one guest port has one public port, whoever the peer is', () => {
  const [first, ...others] = ['198.51.100.9', '198.51.100.10', '8.8.8.8'].map((peer) =>
    publicPortOf(udpFrom(4_000, peer)),
  );
  expect(others).toEqual([first, first]);
});

test('a slice that is full for one peer has room for another', () => {
  const verdicts = Array.from({ length: 400 }, (_, n) => lab.send(udpFrom(1_000 + n)).verdict);
  expect(verdicts.filter((verdict) => verdict === REDIRECTED)).toHaveLength(SLICE.portCount);
  expect(lab.drops()).toEqual({ 'no-port': 400 - SLICE.portCount });
  expect(lab.send(udpFrom(9_999, '198.51.100.77')).verdict).toBe(REDIRECTED);
});

test('a port that was silent for too long is given to the next', () => {
  for (let n = 0; n < SLICE.portCount; n += 1) publicPortOf(udpFrom(1_000 + n));
  const [oldest] = [...exportFlows(lab.tables)];
  if (oldest === undefined) throw new Error('no flow');
  importFlow(lab.tables, { ...oldest, idleNs: 31e9 });
  const taker = oldest.guestPort + SLICE.portCount;
  expect(publicPortOf(udpFrom(taker))).toBe(oldest.publicPort);
  expect(lab.send(udpFrom(oldest.guestPort)).verdict).toBe(DROPPED);
});

test.each(['natOut', 'natIn'] as const)(
  'a flow lives on when its entry in %s is evicted',
  (half) => {
    const collision = publicPortOf(udpFrom(4_000));
    const port = publicPortOf(udpFrom(4_000 + SLICE.portCount));
    expect(port).not.toBe(collision);
    const ofFlow =
      half === 'natOut'
        ? { local: GUEST, localPort: 4_000 + SLICE.portCount }
        : { local: PUBLIC, localPort: port };
    expect(
      lab.tables[half].delete({ ...ofFlow, remote: PEER, remotePort: 53, protocol: packets.UDP }),
    ).toBe(true);
    expect(publicPortOf(udpFrom(4_000 + SLICE.portCount))).toBe(port);
    const answer = packets.udp(back, { sourcePort: 53, destinationPort: port });
    expect(packets.readFrame(lab.receive(answer).frame).destinationPort).toBe(
      4_000 + SLICE.portCount,
    );
  },
);

test('when the map of flows is full the oldest give way: nothing is dropped, nothing breaks', () => {
  const peerOf = (n: number) => fromInteger(toInteger('198.18.0.0') + n);
  const port = publicPortOf(udpFrom(4_000));
  const [flow] = [...exportFlows(lab.tables)];
  if (flow === undefined) throw new Error('no flow');
  for (let n = 0; n < FLOWS + 10_000; n += 1)
    importFlow(lab.tables, { ...flow, remote: peerOf(n), idleNs: 0 });
  for (let n = 0; n < 1_000; n += 1) {
    const remote = peerOf(FLOWS + 20_000 + n);
    expect(publicPortOf(udpFrom(4_000, remote))).toBe(port);
    const ports = { sourcePort: 53, destinationPort: port };
    const answer = lab.receive(packets.udp({ source: remote, destination: PUBLIC }, ports));
    expect(answer.verdict).toBe(REDIRECTED);
    expect(packets.readFrame(answer.frame).destinationPort).toBe(4_000);
  }
  expect([...exportFlows(lab.tables)].length).toBeLessThanOrEqual(FLOWS);
  expect(lab.drops()).toEqual({});
});

test('a gateway that knows only the slice gives the same ports again, collisions apart', () => {
  const before = [4_000, 4_001, 50_003].map((port) => publicPortOf(udpFrom(port)));
  forgetFlows(lab.tables, NUMBER);
  expect([...exportFlows(lab.tables)]).toEqual([]);
  expect([50_003, 4_001, 4_000].map((port) => publicPortOf(udpFrom(port)))).toEqual(
    before.toReversed(),
  );
});

test('a standby that got the flows answers the peers', () => {
  const guestPorts = [4_000, 4_016, 4_032];
  const publicPorts = guestPorts.map((port) => publicPortOf(udpFrom(port)));
  const standby = openGatewayLab();
  try {
    for (const flow of exportFlows(lab.tables)) importFlow(standby.tables, flow);
    const answers = publicPorts.map((destinationPort) =>
      standby.receive(packets.udp(back, { sourcePort: 53, destinationPort })),
    );
    expect(answers.map(({ frame }) => packets.readFrame(frame).destinationPort)).toEqual(
      guestPorts,
    );
  } finally {
    standby.close();
  }
});

test.each([
  ['a SYN alone', [packets.SYN], [], 'opening'],
  ['an answered SYN', [packets.SYN], [packets.SYN + packets.ACK], 'open'],
  ['a FIN', [packets.SYN, packets.FIN + packets.ACK], [packets.ACK], 'closing'],
  ['a RST from the peer', [packets.SYN], [packets.RST], 'closed'],
])('%s makes the flow %s', (_, fromGuest, fromPeer, state) => {
  const ports = { sourcePort: 4_000, destinationPort: 443 };
  let port = 0;
  for (const flags of fromGuest) port = publicPortOf(packets.tcp(out, { ...ports, flags }));
  for (const flags of fromPeer) {
    lab.receive(packets.tcp(back, { sourcePort: 443, destinationPort: port, flags }));
  }
  expect([...exportFlows(lab.tables)].map((flow) => NAT_STATES[flow.state])).toEqual([state]);
});

test('a forged RST does not end a flow whose guest goes on', () => {
  const ports = { sourcePort: 4_000, destinationPort: 443 };
  const port = publicPortOf(packets.tcp(out, ports));
  const answer = { sourcePort: 443, destinationPort: port };
  lab.receive(packets.tcp(back, { ...answer, flags: packets.RST }));
  lab.send(packets.tcp(out, ports));
  expect([...exportFlows(lab.tables)].map((flow) => NAT_STATES[flow.state])).toEqual(['open']);
  expect(lab.receive(packets.tcp(back, answer)).verdict).toBe(REDIRECTED);
});

test.each([
  [31e9, DROPPED],
  [29e9, REDIRECTED],
])('what comes by a flow that was silent for %d ns: verdict %d', (idleNs, verdict) => {
  const port = publicPortOf(udpFrom(4_000));
  const [flow] = [...exportFlows(lab.tables)];
  if (flow === undefined) throw new Error('no flow');
  importFlow(lab.tables, { ...flow, idleNs });
  const answer = packets.udp(back, { sourcePort: 53, destinationPort: port });
  expect(lab.receive(answer).verdict).toBe(verdict);
});

const service = { protocol: 'tcp', publicPort: 80, guestPort: 8080 } as const;
function mapService(services: readonly (typeof service)[]) {
  putServices(lab.tables, { number: NUMBER, guestAddress: GUEST, publicAddress: PUBLIC, services });
  lab.tables.vms.set({ number: NUMBER }, { ...vm, services: services.length });
}

test('a mapped port leads to the VM, and its answers come from there, without any state', () => {
  mapService([service]);
  const call = lab.receive(
    packets.tcp(back, { sourcePort: 5_555, destinationPort: 80, flags: packets.SYN }),
  );
  expect(call).toMatchObject({ verdict: REDIRECTED, remote: toInteger(HOST_A) });
  expect(packets.readFrame(call.frame)).toMatchObject({
    destination: GUEST,
    destinationPort: 8080,
    checksumsHold: true,
  });
  const answer = lab.send(packets.tcp(out, { sourcePort: 8080, destinationPort: 5_555 }));
  expect(packets.readFrame(answer.frame)).toMatchObject({
    source: PUBLIC,
    sourcePort: 80,
    checksumsHold: true,
  });
  expect([...exportFlows(lab.tables)]).toEqual([]);
  mapService([]);
  expect(lab.receive(packets.tcp(back, { sourcePort: 5_555, destinationPort: 80 })).verdict).toBe(
    PASSED,
  );
});

test('what is no VM’s is the gateway’s own; ports of slices are never refused', () => {
  const verdictOf = (destinationPort: number) =>
    lab.receive(packets.tcp(back, { sourcePort: 5_555, destinationPort })).verdict;
  expect([22, 80, SLICE.firstPort - 1, 20_100].map(verdictOf)).toEqual([
    PASSED,
    PASSED,
    PASSED,
    PASSED,
  ]);
  expect([SLICE.firstPort, 20_099].map(verdictOf)).toEqual([DROPPED, DROPPED]);
  expect(lab.receive(packets.echo(back, 'request', SLICE.firstPort)).verdict).toBe(PASSED);
  const elsewhere = { ...back, destination: '203.0.113.11' };
  const own = packets.tcp(elsewhere, { sourcePort: 1, destinationPort: SLICE.firstPort });
  expect(lab.receive(own).verdict).toBe(PASSED);
});

test('another peer cannot use a flow’s port', () => {
  const port = publicPortOf(udpFrom(4_000));
  const stranger = { ...back, source: '198.51.100.66' };
  expect(
    lab.receive(packets.udp(stranger, { sourcePort: 53, destinationPort: port })).verdict,
  ).toBe(DROPPED);
  expect(lab.receive(packets.udp(back, { sourcePort: 54, destinationPort: port })).verdict).toBe(
    DROPPED,
  );
});

test('bytes are counted per VM and per the peer’s /24, both ways', () => {
  const port = publicPortOf(udpFrom(4_000));
  lab.send(udpFrom(4_000, '198.51.100.200'));
  lab.send(udpFrom(4_000, '8.8.8.8'));
  lab.receive(packets.udp(back, { sourcePort: 53, destinationPort: port }));
  const bytes = 14 + 20 + 8 + 5;
  expect(lab.tables.counters.sum({ number: NUMBER })).toMatchObject({
    outPackets: 3,
    outBytes: 3 * bytes,
    inPackets: 1,
    inBytes: bytes,
  });
  const prefixes = lab.tables.readPrefixes(NUMBER).toSorted((a, b) => a.outBytes - b.outBytes);
  expect(prefixes).toEqual([
    { prefix: '8.8.8.0/24', outPackets: 1, outBytes: bytes, inPackets: 0, inBytes: 0 },
    { prefix: '198.51.100.0/24', outPackets: 2, outBytes: 2 * bytes, inPackets: 1, inBytes: bytes },
  ]);
});
