import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { HostId, JobId, type VmId } from '../../../host-agent/protocol/ids.ts';
import { ERA, LEASE_MS } from '../../../host-agent/protocol/token-messages.ts';
import { startTestRedis, type TestRedis } from '../records/redis-server.ts';
import { World } from './world.ts';

const ONE = HostId.parse('host-1');
const TWO = HostId.parse('host-2');
const JOB = JobId.parse('1');
const EMPTY = { bytesUnsealed: 1, bytesInStore: 1, dirtyBytesPerSecond: 0 };

let redis: TestRedis;
let world: World;
let worlds = 0;

beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await redis?.stop();
});
beforeEach(() => {
  worlds += 1;
  world = new World(redis, `leases${worlds}`);
  world.labels = ['architect/rewind=true'];
  world.config = { comebackLimitMs: 0, handshakeLimitMs: 0 };
});
afterEach(async () => {
  world.fleet.stopping.abort();
  await world.close();
});

async function runningVm(): Promise<VmId> {
  await world.tell(world.github.set(1, 'queued'));
  world.newReconciler().start();
  await expect.poll(() => world.fleet.countOf('assign-job')).toBe(1);
  const [vmId] = [...world.fleet.vms.keys()];
  if (vmId === undefined) throw new Error('no VM');
  await world.tell(world.github.set(1, 'in_progress', vmId));
  const lastCheckpoint = { epoch: 1, generation: 1, atMs: Date.now() };
  world.fleet.change(vmId, { tracking: { ...EMPTY, lastCheckpoint } });
  await expect.poll(() => world.store.readVm(vmId)).toMatchObject({ phase: 'busy' });
  return vmId;
}

function report(host: HostId, vmId: VmId, lease: { untilMs: number }, epoch = 1): void {
  const word = { kind: 'holds', epoch, from: null, lease } as const;
  world.fleet.tokens.set(host, [{ vmId, word, doubt: false }]);
  world.fleet.changed();
}

function verdicts() {
  return world.fleet.requests.flatMap((request) =>
    request.kind === 'token-decision' ? [request.verdict] : [],
  );
}

test('a lease is noted from the request to start on, and again before each is sent', async () => {
  const beganMs = Date.now();
  const vmId = await runningVm();
  const first = (await world.store.readVm(vmId))?.leaseUntilMs ?? 0;
  expect(first).toBeGreaterThanOrEqual(beganMs + LEASE_MS);
  report(ONE, vmId, { untilMs: Date.now() + 1_000 });
  await expect.poll(verdicts).toMatchObject([{ kind: 'lease', epoch: 1 }]);
  const [verdict] = verdicts();
  const noted = { leaseUntilMs: verdict?.kind === 'lease' ? verdict.lease.untilMs : 0 };
  expect(await world.store.readVm(vmId)).toMatchObject(noted);
  expect(world.evidence.readVm(vmId)).toMatchObject(noted);
  expect(noted.leaseUntilMs).toBeGreaterThan(first);
});

test('a host that is away is not replaced while its lease may be in force, and then is', async () => {
  const vmId = await runningVm();
  world.fleet.connected.delete(ONE);
  world.fleet.changed();
  await expect.poll(() => world.store.readVm(vmId)).toMatchObject({ hostId: ONE });
  expect(world.fleet.countOf('resume-vm')).toBe(0);
  await world.store.updateVm(vmId, Date.now(), (vm) => vm && { ...vm, leaseUntilMs: 1 });
  world.fleet.changed();
  await expect.poll(() => world.store.readVm(vmId)).toMatchObject({ hostId: TWO, epoch: ERA });
  expect(world.evidence.movesOf(JOB)).toMatchObject([{ kind: 'rewind', phase: 'done' }]);
  // The old host comes back with its copy, and is told that there is a later one.
  world.fleet.connected.add(ONE);
  report(ONE, vmId, { untilMs: 2 });
  await expect.poll(verdicts).toMatchObject([{ kind: 'discard', below: ERA }]);
});

test('a lease that was noted while a rewind was claimed keeps it from starting', async () => {
  const vmId = await runningVm();
  const { store } = world;
  await store.updateVm(vmId, Date.now(), (vm) => vm && { ...vm, leaseUntilMs: 1 });
  const claimed = Promise.withResolvers<void>();
  const updateVm = store.updateVm.bind(store);
  store.updateVm = async (id, nowMs, change) => {
    const vm = await updateVm(id, nowMs, change);
    if (vm?.lastEpoch !== ERA) return vm;
    store.updateVm = updateVm;
    const leaseUntilMs = Date.now() + LEASE_MS;
    await updateVm(id, nowMs, (stored) => stored && { ...stored, leaseUntilMs });
    claimed.resolve();
    return vm;
  };
  world.fleet.connected.delete(ONE);
  world.fleet.changed();
  await claimed.promise;
  await expect.poll(() => world.lines.join()).toContain('not rewound yet');
  expect(world.fleet.countOf('resume-vm')).toBe(0);
  await store.updateVm(vmId, Date.now(), (vm) => vm && { ...vm, leaseUntilMs: 1 });
  world.fleet.changed();
  await expect.poll(() => world.fleet.countOf('resume-vm')).toBe(1);
});
