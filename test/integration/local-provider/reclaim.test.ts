/** A simulated host that its cloud takes back. */
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { listLeftovers } from '../../../app/providers/local/leftovers.ts';
import { readMachine } from '../../../app/providers/local/machine-record.ts';
import { noticeOf, reclaimHost } from '../../../app/providers/local/reclaim.ts';
import { type LocalFleet, startLocalFleet } from '../../contract/provider/local-fleet.ts';
import { until } from './until.ts';

const signal = () => AbortSignal.timeout(60_000);
let fleet: LocalFleet;
let machineId = '';

beforeEach(async () => {
  fleet = await startLocalFleet();
  const request = { offerId: 'any', clientToken: 'one', enrolmentToken: 'architect_test' };
  machineId = (await fleet.provider.launch(request, signal())).machineId;
});
afterEach(() => fleet?.destroy());

/** The control socket of the metadata service is there a moment after the launch. */
async function reclaim(act: () => ReturnType<typeof reclaimHost>) {
  return await until('the notice', () => act().catch(() => undefined));
}

test('it is told in whole seconds, never later than its end', () => {
  const { instanceAction } = noticeOf(Date.parse('2026-11-23T20:00:01.999Z'));
  expect(instanceAction).toEqual({ action: 'terminate', time: '2026-11-23T20:00:01Z' });
});

test('at the deadline every process of it dies, whether it was emptied or not', async () => {
  const netns = `--net=/run/netns/ar-${fleet.at.fleet}-${machineId}`;
  const inHost = execa('nsenter', [netns, 'sleep', '300'], { reject: false });
  const { ended } = await reclaim(() => fleet.provider.reclaimHost({ machineId, noticeMs: 3_000 }));
  expect(await fleet.provider.list(signal())).toMatchObject([{ machineId, state: 'running' }]);
  await ended;
  expect((await inHost).signal).toBe('SIGKILL');
  expect(await fleet.provider.list(signal())).toEqual([]);
});

test('another process than the one that supervises the hosts can take one back', async () => {
  const { ended } = await reclaim(() =>
    reclaimHost({ at: fleet.at, machineId, noticeMs: 500, signal: signal() }),
  );
  await ended;
  expect(await fleet.provider.list(signal())).toEqual([]);
  expect(await readMachine(fleet.at, machineId)).toBeUndefined();
  const left = await listLeftovers(fleet.at);
  expect(left.filter((name) => name.includes(machineId))).toEqual([]);
});
