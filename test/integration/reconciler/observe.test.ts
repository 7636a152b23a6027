/** The picture that a tick plans on must not be of a Redis that was emptied while it was read. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { SHARE } from '../../../app/planner/moves-world.ts';
import { observe } from '../../../app/reconciler/observe.ts';
import { HostId, VmId } from '../../../host-agent/protocol/ids.ts';
import { POOL, vmReport } from '../../fixtures/protocol.ts';
import { vmRecord } from '../../fixtures/records.ts';
import { startTestRedis, type TestRedis } from '../records/redis-server.ts';
import { World } from './world.ts';

const vmId = VmId.parse('vm-1');
const times = { nowMs: 9, lookingSinceMs: 1 };

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await redis?.stop();
});

it('sees nothing when Redis was emptied between its readings, and writes nothing', async () => {
  const world = new World(redis, 'emptied');
  const { store, evidence, fleet } = world;
  try {
    world.fleet.vms.set(vmId, { hostId: HostId.parse('host-1'), report: vmReport({ vmId }) });
    evidence.rememberVm(vmRecord());
    await store.setMarker();
    const ports = { store, evidence, fleet, pools: { pool: () => POOL }, shareOf: () => SHARE };
    expect((await observe(ports, times))?.vms).toMatchObject([{ id: vmId, unknown: false }]);
    vi.spyOn(store, 'listOpenJobs').mockImplementationOnce(async () => {
      await redis.connect().flushall();
      return [];
    });
    expect(await observe(ports, times)).toBeUndefined();
    expect(await store.listVms()).toEqual([]);
  } finally {
    await world.close();
  }
});
