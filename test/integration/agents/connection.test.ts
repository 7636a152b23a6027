import { expect, test, vi } from 'vitest';
import { HostId, VmId } from '../../../host-agent/protocol/ids.ts';
import { MAX_FRAME_BYTES } from '../../../host-agent/protocol/messages.ts';
import { hostFacts, POOL } from '../../fixtures/protocol.ts';
import { dial, enrol, openDoor, strangerIdentity, upgradeStatus } from './agent-door.ts';

const forget = { kind: 'forget-vm', vmId: VmId.parse('vm-1') } as const;

test('only a host with our certificate, not revoked, gets a connection', async () => {
  await using door = await openDoor();
  const identity = await enrol(door);
  expect(await upgradeStatus(door, {})).toBe(401);
  expect(await upgradeStatus(door, await strangerIdentity(door.dir))).toBe(401);
  const { key, cert } = identity;
  expect(await upgradeStatus(door, { key, cert })).toBe(101);
  door.clock.isLeader = false;
  expect(await upgradeStatus(door, { key, cert })).toBe(503);
  door.clock.isLeader = true;
  door.enrolment.revoke(HostId.parse(identity.hostId), Date.now());
  expect(await upgradeStatus(door, { key, cert })).toBe(401);
});

test('a fitting host is welcomed, reports, and answers requests', async () => {
  await using door = await openDoor();
  const identity = await enrol(door);
  const hostId = HostId.parse(identity.hostId);
  using agent = await dial(door, identity);
  agent.hello();
  await vi.waitFor(() =>
    expect(agent.told[0]).toMatchObject({ type: 'welcome', hostId, pool: POOL }),
  );
  agent.send({ type: 'report', seq: 1, sentAtMs: 1, artifacts: [], vms: [], notice: null });
  await vi.waitFor(() => expect(door.fleet.hosts()[0]).toMatchObject({ report: { seq: 1 } }));
  const asked = door.fleet.request(hostId, forget);
  await vi.waitFor(() => expect(agent.told[1]).toMatchObject({ type: 'request', request: forget }));
  const frame = agent.told[1];
  const requestId = frame?.type === 'request' ? frame.requestId : '';
  agent.send({ type: 'result', requestId, outcome: { kind: 'taken' } });
  expect(await asked).toEqual({ kind: 'taken' });
});

test('a request is not left hanging by silence or a disconnect', async () => {
  await using door = await openDoor();
  const identity = await enrol(door);
  const hostId = HostId.parse(identity.hostId);
  using agent = await dial(door, identity);
  agent.hello();
  await vi.waitFor(() => expect(door.fleet.hosts()[0]?.state).toBe('connected'));
  await expect(door.fleet.request(hostId, forget)).rejects.toMatchObject({ code: 'HOST_TIMEOUT' });
  const asked = expect(door.fleet.request(hostId, forget)).rejects.toMatchObject({
    code: 'HOST_AWAY',
  });
  agent.socket.terminate();
  await asked;
  expect(door.fleet.hosts()[0]?.state).toBe('away');
  await expect(door.fleet.request(hostId, forget)).rejects.toMatchObject({ code: 'HOST_AWAY' });
});

test('an unfit host is told why and stays connected', async () => {
  await using door = await openDoor();
  using agent = await dial(door, await enrol(door));
  agent.hello(hostFacts({ arch: 'arm64' }));
  await vi.waitFor(() =>
    expect(agent.told[0]).toMatchObject({
      type: 'turned-away',
      why: expect.stringMatching(/arm64/),
    }),
  );
  expect(door.fleet.hosts()[0]).toMatchObject({ state: 'turned-away' });
});

test('a second connection of a host replaces the first', async () => {
  await using door = await openDoor();
  const identity = await enrol(door);
  using first = await dial(door, identity);
  first.hello();
  await vi.waitFor(() => expect(first.told).toHaveLength(1));
  using second = await dial(door, identity);
  second.hello();
  await first.closed;
  await vi.waitFor(() => expect(second.told).toHaveLength(1));
  expect(door.fleet.hosts()).toMatchObject([{ state: 'connected' }]);
});

test.each([
  ['too large', 'x'.repeat(MAX_FRAME_BYTES + 1)],
  ['not JSON', '{'],
  ['of no known kind', '{"type":"other"}'],
])('a frame that is %s ends the connection', async (_, text) => {
  await using door = await openDoor();
  using agent = await dial(door, await enrol(door));
  agent.socket.send(text);
  const [code] = await agent.closed;
  expect([1002, 1009]).toContain(code);
  await vi.waitFor(() => expect(door.fleet.hosts()[0]?.state).toBe('away'));
});

test('a revoked host is put out at once', async () => {
  await using door = await openDoor();
  const identity = await enrol(door);
  using agent = await dial(door, identity);
  agent.hello();
  await vi.waitFor(() => expect(agent.told).toHaveLength(1));
  door.enrolment.revoke(HostId.parse(identity.hostId), Date.now());
  door.fleet.expel(HostId.parse(identity.hostId));
  await agent.closed;
  expect(door.fleet.hosts()).toEqual([]);
});

test('an endpoint that closes ends the connections of hosts', async () => {
  await using door = await openDoor();
  using agent = await dial(door, await enrol(door));
  agent.hello();
  await vi.waitFor(() => expect(door.fleet.hosts()[0]).toMatchObject({ state: 'connected' }));
  await door.closeEndpoint();
  await vi.waitFor(() => expect(door.fleet.hosts()[0]).toMatchObject({ state: 'away' }));
});
