/**
 * What is bought enrols at the real door with the token of its user data: once, in time, and for nothing
 * when its machine has ended meanwhile. The test does what an instance does at its first boot.
 */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { host } from '../../../app/planner/moves-world.ts';
import { MachineWatch } from '../../../app/reconciler/machine-watch.ts';
import { decodeEnrolmentToken, EnrolResponse } from '../../../host-agent/protocol/enrolment.ts';
import { HostId } from '../../../host-agent/protocol/ids.ts';
import { type Door, dial, makeRequest, openDoor, postEnrol } from '../agents/agent-door.ts';
import { BuyerRig, queued } from './buyer-rig.ts';

const { signal } = new AbortController();
const MINUTE_MS = 60_000;
let rig: BuyerRig;
let door: Door;

beforeEach(async () => {
  rig = await BuyerRig.open();
  door = await openDoor();
  door.clock.nowMs = () => rig.nowMs;
  rig.listHosts = () => door.fleet.hosts();
  const ttlMs = rig.provider.policy.joinLimitMs;
  rig.issue = () => door.enrolment.issueEnrolmentToken({ ttlMs, nowMs: rig.nowMs });
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
});
afterEach(async () => {
  await door[Symbol.asyncDispose]();
  await rig.close();
});

/** Answers the door's word on the token that the instance was given. */
async function enrolAs(machineId: string, given = machineId) {
  const userData = rig.ec2.world.instances.get(given)?.template.userData ?? '';
  const token = /^architect_\S+$/m.exec(userData)?.[0] ?? '';
  const { csrPem, key } = await makeRequest();
  const secret = decodeEnrolmentToken(token)?.secret;
  return { key, ...(await postEnrol(door, { secret, csrPem, hostname: machineId })) };
}

/** Connects, and the planner sees it. The door's clock stands still then: nothing else keeps it awake. */
async function connect({ key, text }: Awaited<ReturnType<typeof enrolAs>>) {
  const { hostId, certificatePem, caPem } = EnrolResponse.parse(JSON.parse(text));
  const joinedAtMs = rig.nowMs;
  door.clock.nowMs = () => joinedAtMs;
  const agent = await dial(door, { hostId, key, cert: certificatePem, ca: caPem });
  agent.hello();
  await vi.waitFor(() => expect(agent.told).toHaveLength(1));
  agent.send({ type: 'report', seq: 1, sentAtMs: 1, artifacts: [], vms: [], notice: null });
  const id = HostId.parse(hostId);
  await vi.waitFor(() => expect(door.fleet.hosts()[0]).toMatchObject({ report: { seq: 1 } }));
  rig.picture = { ...rig.picture, hosts: [{ ...host(1), id }] };
  return agent;
}

it('makes that host, and no other one', async () => {
  await rig.look();
  const [id = ''] = rig.alive();
  const first = await enrolAs(id);
  expect(first.status).toBe(200);
  for (const thief of [id, 'i-0badbadbadbadbad0'])
    expect(await enrolAs(thief, id)).toMatchObject({
      status: 401,
      text: expect.stringContaining('used before'),
    });
  using _agent = await connect(first);
  rig.picture = { ...rig.picture, jobs: [] };
  rig.buyer.watch(rig.picture, rig.nowMs);
  expect(rig.buyer.starts).toMatchObject([{ machineId: id, joinedAtMs: rig.nowMs }]);
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  for (let n = 0; n < 20; n += 1) await rig.look();
  expect(rig.alive()).toEqual([id]);
  expect(door.fleet.hosts()).toHaveLength(1);
});

it('is refused once its machine was given up, and another was bought', async () => {
  await rig.look();
  const [late = ''] = rig.alive();
  for (let n = 0; n < 17; n += 1) await rig.look();
  const [other = ''] = rig.alive();
  expect(other).not.toBe(late);
  expect(await enrolAs(late)).toMatchObject({
    status: 401,
    text: expect.stringContaining('expired'),
  });
  expect((await enrolAs(other)).status).toBe(200);
});

it('is good for nothing on a machine that EC2 ended meanwhile', async () => {
  const machines = new Set<string>();
  const watch = new MachineWatch({
    rememberMachine: (machineId) => void machines.add(machineId),
    wasMachine: (machineId) => machines.has(machineId),
  });
  await rig.look();
  const [id = ''] = rig.alive();
  watch.note(await rig.provider.list(signal), rig.nowMs);
  rig.ec2.world.interrupt(id);
  rig.nowMs += 2 * MINUTE_MS;
  using _agent = await connect(await enrolAs(id));
  for (let n = 0; n < 3; n += 1) {
    await rig.look();
    watch.note(await rig.provider.list(signal), rig.nowMs);
  }
  expect(watch.isGone({ hostname: id })).toBe(true);
  expect(rig.alive()).toHaveLength(1);
  expect(rig.alive()).not.toContain(id);
  expect([...rig.buyer.emptyingHosts()]).toEqual([]);
});
