import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { HostId, type VmId } from '../../../host-agent/protocol/ids.ts';
import { hastenClock } from '../intake/fast-clock.ts';
import { startTestRedis, type TestRedis } from '../records/redis-server.ts';
import { World } from './world.ts';

const [ONE, TWO] = [HostId.parse('host-1'), HostId.parse('host-2')];
const until = <T>(check: () => T | Promise<T>) =>
  vi.waitFor(check, { timeout: 20_000, interval: 20 });

let redis: TestRedis;
let world: World;

beforeEach(async () => {
  hastenClock(10);
  redis = await startTestRedis();
  world = new World(redis, 'away');
  world.newReconciler().start();
});
afterEach(async () => {
  await world.close();
  await redis.stop();
  vi.unstubAllGlobals();
});

function vmBeside(other?: VmId): Promise<VmId> {
  return until(() => {
    const found = [...world.fleet.vms.keys()].find((id) => id !== other);
    if (found === undefined) throw new Error('no VM was started');
    return found;
  });
}

it('a VM moves while GitHub cannot be reached, and what waits is served when it is back', async () => {
  await world.tell(world.github.set(1, 'queued'));
  const vmId = await vmBeside();
  await until(() => expect(world.github.mints).toBe(1));
  await world.tell(world.github.set(1, 'in_progress', vmId));
  await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ phase: 'busy' }));
  world.github.away = true;
  await world.tell(world.github.set(2, 'queued'));
  await vmBeside(vmId);
  const notice = { kind: 'interruption', source: 'ec2', seenAtMs: Date.now() } as const;
  world.fleet.notices.set(ONE, { ...notice, deadlineMs: Date.now() + 600_000 });
  world.fleet.changed();
  await until(() => expect(world.fleet.vms.get(vmId)?.hostId).toBe(TWO));
  expect(world.github.mints).toBe(1);
  world.github.away = false;
  await until(() => expect(world.github.mints).toBe(2));
  const last = await vmBeside(vmId);
  await world.tell(world.github.set(2, 'in_progress', last));
  for (const [job, vm] of [
    [2, last],
    [1, vmId],
  ] as const)
    await world.tell(world.github.set(job, 'completed', vm));
  await until(async () => expect(await world.store.listVms()).toEqual([]));
  expect([world.fleet.vms.size, world.github.runners.size]).toEqual([0, 0]);
  expect(world.lost).toEqual([]);
});
