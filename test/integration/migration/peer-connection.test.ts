import { once } from 'node:events';
import { connect as connectTcp, createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { expect, test } from 'vitest';
import { helloFor } from '../../../host-agent/migration/peer/hello.ts';
import {
  PeerListenError,
  PeerLostError,
  PeerProtocolError,
  PeerRefusedError,
} from '../../../host-agent/migration/peer/peer-errors.ts';
import { encodeFrame } from '../../../host-agent/migration/peer/peer-frames.ts';
import { listenForPeer } from '../../../host-agent/migration/peer/peer-listener.ts';
import { peerTlsOf } from '../../../host-agent/migration/peer/peer-tls.ts';
import { HostId, MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import { connectPeers, dialTo, enrolPeers, listenAt, PORTS, SOURCE } from './peer-hosts.ts';

test('two hosts of one fleet meet, and the port is closed behind them', async () => {
  await using hosts = await enrolPeers();
  const listener = await listenAt(hosts);
  expect(listener.port).toBeGreaterThanOrEqual(PORTS.first);
  expect(listener.port).toBeLessThanOrEqual(PORTS.last);
  const source = await dialTo(hosts, listener.port);
  const target = await listener.accepted;
  await source.send({ kind: 'token', message: { epoch: 2 } });
  expect(await target.next()).toEqual({ kind: 'token', message: { epoch: 2 } });
  await expect(dialTo(hosts, listener.port)).rejects.toThrow(PeerLostError);
  source.close();
  await expect(target.next()).rejects.toThrow(PeerLostError);
});

test.each([
  ['credential', { credential: Buffer.alloc(32).toString('base64') }],
  ['migration', { migrationId: MigrationId.parse('mig-2') }],
  ['VM', { vmId: VmId.parse('vm-2') }],
])('a wrong %s is refused, and the right peer is still awaited', async (_what, wrong) => {
  await using hosts = await enrolPeers();
  const listener = await listenAt(hosts);
  await expect(dialTo(hosts, listener.port, wrong)).rejects.toThrow(PeerRefusedError);
  const source = await dialTo(hosts, listener.port);
  const target = await listener.accepted;
  source.close();
  target.close();
});

test('hosts that were not announced are dropped without a word', async () => {
  await using hosts = await enrolPeers();
  const listener = await listenAt(hosts);
  for (const identity of [hosts.stranger, hosts.foreigner]) {
    await expect(dialTo(hosts, listener.port, { identity })).rejects.toThrow(PeerLostError);
  }
  const source = await dialTo(hosts, listener.port);
  const target = await listener.accepted;
  source.close();
  target.close();
});

test('the source finds out a target that is another host of the fleet', async () => {
  await using hosts = await enrolPeers();
  const listener = await listenAt(hosts);
  const hostId = HostId.parse('h-other');
  await expect(dialTo(hosts, listener.port, { hostId })).rejects.toThrow(/it is not host h-other/);
  listener.close();
  await expect(listener.accepted).rejects.toThrow(PeerListenError);
});

test('a crowd that says nothing neither keeps the peer out nor stays', async () => {
  await using hosts = await enrolPeers();
  const listener = await listenAt(hosts);
  const crowd = Array.from({ length: 20 }, () => connectTcp(listener.port, '127.0.0.1'));
  for (const socket of crowd) socket.on('error', () => {});
  const gone = Promise.all(crowd.map((socket) => once(socket, 'close')));
  const connecting = crowd.filter((socket) => socket.connecting);
  await Promise.all(connecting.map((socket) => once(socket, 'connect')));
  const source = await dialTo(hosts, listener.port);
  const target = await listener.accepted;
  await gone;
  source.close();
  target.close();
});

test('the expected host that says nothing, or too much, is dropped', async () => {
  await using hosts = await enrolPeers();
  const listener = await listenAt(hosts);
  for (const words of [Buffer.alloc(0), Buffer.alloc(64 * 1024, 0xff)]) {
    const socket = connectTls({
      ...peerTlsOf(hosts.source),
      port: listener.port,
      checkServerIdentity: () => undefined,
    });
    socket.on('error', () => {});
    socket.resume();
    const closed = once(socket, 'close');
    socket.write(words);
    await closed;
  }
  listener.close();
});

test('nobody comes: the waiting ends with the signal', async () => {
  await using hosts = await enrolPeers();
  const giveUp = new AbortController();
  const listener = await listenAt(hosts, giveUp.signal);
  giveUp.abort();
  await expect(listener.accepted).rejects.toThrow(PeerListenError);
});

test('taken ports are passed over, and a range without a free one is said', async () => {
  await using hosts = await enrolPeers();
  const taken = createServer().listen(0);
  await once(taken, 'listening');
  const address = taken.address();
  const first = typeof address === 'object' && address !== null ? address.port : 0;
  const request = {
    identity: hosts.target,
    expected: { ...hosts.move, hostId: SOURCE },
    signal: AbortSignal.timeout(5_000),
  };
  await expect(listenForPeer({ ...request, ports: { first, last: first } })).rejects.toThrow(
    PeerListenError,
  );
  taken.close();
});

test('a side that gives up tells the other why', async () => {
  await using hosts = await enrolPeers();
  using pair = await connectPeers(hosts);
  const waits = pair.source.next();
  pair.target.fail(new PeerProtocolError('Block m0 has another size.'));
  await expect(waits).rejects.toThrow(PeerRefusedError);
  await expect(pair.source.send({ kind: 'ready' })).rejects.toThrow(/another size/);
  await expect(pair.target.next()).rejects.toThrow(PeerProtocolError);
});

test('a peer that sends more than is read is held back, and nothing is lost', async () => {
  await using hosts = await enrolPeers();
  using pair = await connectPeers(hosts);
  const piece = Buffer.alloc(1024 * 1024, 7);
  let sent = 0;
  const sending = (async () => {
    for (; sent < 64; sent += 1) await pair.source.send({ kind: 'device-state', piece });
  })();
  await pair.source.send({ kind: 'ready' });
  for (let count = 0; count < 64; ) {
    const frame = await pair.target.next();
    if (frame.kind !== 'device-state') continue;
    count += 1;
    expect(sent - count).toBeLessThan(40);
    expect(frame.piece.equals(piece)).toBe(true);
  }
  await sending;
});

test('a peer that falls silent is given up', async () => {
  await using hosts = await enrolPeers();
  const listener = await listenAt(hosts);
  const socket = connectTls({
    ...peerTlsOf(hosts.source),
    port: listener.port,
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => {});
  socket.write(encodeFrame(helloFor({ ...hosts.move, hostId: SOURCE })));
  const target = await listener.accepted;
  await expect(target.next()).rejects.toThrow(/gone silent/);
  socket.destroy();
});
