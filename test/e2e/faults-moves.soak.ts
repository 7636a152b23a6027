/** Faults in the middle of moves, on a whole fleet: real VMs with jobs, real notices, a real control plane. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import { eventually, listHosts, startFleet } from './fleet.ts';
import { MovingJob, NOTICE_MS } from './moving-job.ts';

let fleet: SimulatedFleet;

beforeEach(async () => {
  fleet = await startFleet({ hosts: 3 });
});

afterEach(async () => {
  expect(await fleet?.close()).toEqual([]);
});

async function untilNoticed(hostId: HostId): Promise<void> {
  await eventually(`the notice of ${hostId} is known`, async () =>
    (await listHosts(fleet)).some(({ id, notice }) => id === hostId && notice !== null),
  );
}

/** Its job ended green in the VM that it began in, elsewhere; answers its moves. */
async function expectGreen(job: MovingJob) {
  const { job: ended, moves } = await job.end();
  expect(ended).toMatchObject({ conclusion: 'success', vmsStarted: 1 });
  expect(moves.at(-1)).toMatchObject({ phase: 'done' });
  expect(moves.filter(({ phase }) => phase === 'done')).toHaveLength(1);
  return moves;
}

it.each(['precopy', 'switchover'] as const)(
  'SIGKILL of the control plane during a move, in %s: the job ends green elsewhere',
  async (phase) => {
    await using job = await MovingJob.start(fleet, phase);
    await job.slowDown();
    await fleet.reclaim(job.host, NOTICE_MS);
    await job.holdIn(phase);
    fleet.controlPlane.kill('SIGKILL');
    await fleet.controlPlane.exited;
    // Its two hosts go on without it.
    await job.release();
    await fleet.startControlPlane();
    await job.hasMoved();
    await expectGreen(job);
  },
);

it('two hosts get their notices at once: both jobs end green on hosts that stay', async () => {
  await using one = await MovingJob.start(fleet, 'one');
  await using two = await MovingJob.start(fleet, 'two');
  await two.moveAway();
  await Promise.all([one, two].map(({ host }) => fleet.reclaim(host, NOTICE_MS)));
  for (const arrivedAt of await Promise.all([one.hasMoved(), two.hasMoved()])) {
    expect([one.host, two.host]).not.toContain(arrivedAt);
  }
  await expectGreen(one);
  const { job: ended } = await two.end();
  expect(ended).toMatchObject({ conclusion: 'success', vmsStarted: 1 });
});

it('a notice in the middle of a move: it goes on, and is the only one', async () => {
  await using job = await MovingJob.start(fleet, 'notice');
  await job.slowDown();
  await job.drain();
  const { id } = await job.holdIn('precopy');
  await fleet.reclaim(job.host, NOTICE_MS);
  await untilNoticed(job.host);
  await job.release();
  await job.hasMoved();
  expect(await expectGreen(job)).toMatchObject([{ id, phase: 'done' }]);
});

it('the target is reclaimed in the middle: the job ends green on the host that stays', async () => {
  await using job = await MovingJob.start(fleet, 'target');
  await job.slowDown();
  await fleet.reclaim(job.host, NOTICE_MS);
  const { id, to } = await job.moveIn('precopy');
  if (to === null) throw new Error('its move has no target');
  await fleet.reclaim(to, NOTICE_MS);
  const aborted = await job.moveIn('aborted');
  expect(aborted).toMatchObject({ id, why: 'Its target is taken back, too.' });
  await job.release();
  expect(await job.hasMoved()).not.toBe(to);
  await expectGreen(job);
});
