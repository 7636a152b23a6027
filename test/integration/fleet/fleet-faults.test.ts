/** What goes wrong around a fleet that buys its hosts, seen by all of it: provider, buyer and planner. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { host, job, vm } from '../../../app/planner/moves-world.ts';
import { BuyerRig, queued } from './buyer-rig.ts';

const SPOT_A = 'm8i.xlarge/eu-central-1a/spot';
const SPOT_B = 'm8i.xlarge/eu-central-1b/spot';
const ON_DEMAND_A = 'm8i.xlarge/eu-central-1a/on-demand';
const ON_DEMAND_B = 'm8i.xlarge/eu-central-1b/on-demand';
const HOUR_MS = 3_600_000;

let rig: BuyerRig;
beforeEach(async () => {
  rig = await BuyerRig.open();
});
afterEach(() => rig.close());

const count = (action: string) => rig.ec2.world.seen.filter((one) => one === action).length;

/** One host that runs one job. */
async function busy(): Promise<string> {
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  const [id = ''] = rig.alive();
  rig.join(id);
  rig.picture = { ...rig.picture, jobs: [job(1)], vms: [vm(1)] };
  return id;
}

describe('a crash between CreateFleet and its answer', () => {
  /** The process ends with the answer: three attempts, and nobody who would try again. */
  async function crash(): Promise<void> {
    rig.picture = { ...rig.picture, jobs: [queued(1)] };
    for (let n = 0; n < 3; n += 1)
      rig.ec2.world.faults.push({ action: 'CreateFleet', code: 'lost' });
    await rig.look();
    expect(rig.buyer.decisions).toMatchObject([{ kind: 'launch', failed: expect.any(String) }]);
    rig.restart();
  }

  it('buys no second host, although EC2’s lists do not show the first one yet', async () => {
    rig.ec2.world.lag = 3;
    await crash();
    for (let n = 0; n < 8; n += 1) await rig.look(0.25);
    expect(rig.alive()).toHaveLength(1);
    const [id = ''] = rig.alive();
    expect(rig.ec2.world.instances.get(id)?.template.userData).toContain(rig.issued[0]);
    rig.join(id);
    rig.picture = { ...rig.picture, jobs: [job(1)], vms: [vm(1)] };
    await rig.look();
    expect(count('TerminateInstances')).toBe(0);
  });

  it('waits for what was bought no longer than EC2’s lists may lag', async () => {
    await crash();
    for (const id of rig.alive()) rig.ec2.world.interrupt(id);
    await rig.look();
    await rig.look();
    expect(rig.alive()).toHaveLength(1);
  });

  it('ends the orphan where it never joins', async () => {
    await crash();
    const [orphan] = rig.alive();
    for (let n = 0; n < 18; n += 1) await rig.look();
    expect(rig.ec2.world.instances.get(orphan ?? '')?.state).toBe('terminated');
    expect(rig.alive()).toHaveLength(1);
  });
});

describe('expired credentials', () => {
  it('end nothing and buy nothing, and all goes on when there are fresh ones', async () => {
    const id = await busy();
    await rig.look();
    rig.picture = { ...rig.picture, jobs: [job(1), ...[2, 3, 4, 5, 6].map(queued)] };
    rig.ec2.world.outage = 'ExpiredToken';
    for (let n = 0; n < 10; n += 1)
      await expect(rig.look()).rejects.toMatchObject({ code: 'EC2_CREDENTIALS', retry: 'later' });
    expect(rig.alive()).toEqual([id]);
    rig.ec2.world.outage = undefined;
    await rig.look();
    expect(rig.alive().length).toBeGreaterThan(1);
    expect(rig.alive()).toContain(id);
  });

  it('in the middle of a launch: the next look buys, once', async () => {
    rig.picture = { ...rig.picture, jobs: [queued(1)] };
    rig.ec2.world.faults.push({ action: 'CreateFleet', code: 'ExpiredToken' });
    await rig.look();
    expect(rig.buyer.decisions[0]?.failed).toMatch(/credentials.*clock/);
    await rig.look();
    await rig.look();
    expect(rig.alive()).toHaveLength(1);
  });
});

describe.each([HOUR_MS, -HOUR_MS])('a clock that is %i ms from EC2’s', (aheadMs) => {
  it('buys, waits for the host, and gives up on it by its own time', async () => {
    rig.ec2.world.clockAheadMs = aheadMs;
    rig.picture = { ...rig.picture, jobs: [queued(1)] };
    await rig.look();
    const [id] = rig.alive();
    expect(id).toBeDefined();
    for (let n = 0; n < 13; n += 1) await rig.look();
    expect(rig.alive()).toEqual([id]);
    for (let n = 0; n < 3; n += 1) await rig.look();
    expect(rig.alive()).not.toContain(id);
    expect(rig.alive()).toHaveLength(1);
  });
});

describe('an hour without capacity', () => {
  it('in one zone: the other is used, and the first one left alone most of the time', async () => {
    rig.ec2.world.capacity.set(SPOT_A, 0);
    await busy();
    for (let n = 0; n < 60; n += 1) await rig.look();
    expect(rig.ec2.world.alive().map(({ zone }) => zone)).toEqual(['eu-central-1b']);
    expect(count('CreateFleet')).toBeLessThanOrEqual(6);
  });

  it('in all zones: EC2 is asked ever more seldom, and the job gets its host afterwards', async () => {
    for (const id of [SPOT_A, SPOT_B, ON_DEMAND_A, ON_DEMAND_B]) rig.ec2.world.capacity.set(id, 0);
    rig.picture = { ...rig.picture, jobs: [queued(1)] };
    for (let n = 0; n < 60; n += 1) await rig.look();
    expect(rig.alive()).toEqual([]);
    const asked = count('CreateFleet');
    expect(asked).toBeGreaterThan(4);
    expect(asked).toBeLessThanOrEqual(16);
    rig.ec2.world.capacity.clear();
    for (let n = 0; n < 60; n += 1) await rig.look();
    expect(rig.alive()).toHaveLength(1);
  });
});

describe('prices that jump', () => {
  const setPrice = (zone: 'a' | 'b', usd: number) =>
    rig.ec2.world.spotUsd.set(`m8i.xlarge/eu-central-1${zone}`, usd);

  it('above all limits: nothing more is bought, what runs goes on, and after it all is as before', async () => {
    const id = await busy();
    await rig.look(10);
    setPrice('a', 5);
    setPrice('b', 5);
    rig.picture = { ...rig.picture, jobs: [job(1), ...[2, 3, 4, 5].map(queued)] };
    for (let n = 0; n < 20; n += 1) await rig.look(4);
    expect(rig.buyer.usdPerHour).toBeGreaterThan(0.5);
    expect(rig.alive()).toEqual([id]);
    rig.ec2.world.spotUsd.clear();
    await rig.look(4);
    await rig.look(4);
    expect(rig.alive().length).toBeGreaterThan(1);
    expect(rig.buyer.usdPerHour).toBeLessThanOrEqual(0.5);
  });

  /** A price in each zone, exchanged every ten minutes; what is bought joins, and the VM leaves what is emptied. */
  async function alternate(one: number, other: number): Promise<void> {
    await busy();
    for (let n = 0; n < 48; n += 1) {
      setPrice('a', n % 2 === 0 ? one : other);
      setPrice('b', n % 2 === 0 ? other : one);
      await rig.look(10);
      for (const id of rig.alive())
        if (!rig.hosts.some(({ hostname }) => hostname === id)) rig.join(id);
      const emptying = rig.buyer.emptyingHosts();
      const there = rig.hosts.find(
        ({ id, hostname }) => rig.alive().includes(hostname) && !emptying.has(id),
      );
      if (there !== undefined) rig.picture = { ...rig.picture, vms: [vm(1, { hostId: there.id })] };
    }
  }

  it('to and fro by a little: no host is bought for it', async () => {
    await alternate(0.1, 0.103);
    expect(count('CreateFleet')).toBe(1);
  });

  it('to and fro by a half: nothing is bought for what was dear within the hour', async () => {
    await alternate(0.1, 0.15);
    expect(count('CreateFleet')).toBe(1);
  });
});

it('a host that connects after its machine was ended is not counted, nor bought for again', async () => {
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  const [late = ''] = rig.alive();
  for (let n = 0; n < 17; n += 1) await rig.look();
  const [other = ''] = rig.alive();
  expect(other).not.toBe(late);
  rig.join(late);
  rig.join(other);
  rig.picture = { ...rig.picture, jobs: [job(1)], vms: [vm(1, { hostId: host(2).id })] };
  for (let n = 0; n < 20; n += 1) await rig.look();
  expect(rig.alive()).toEqual([other]);
  expect([...rig.buyer.emptyingHosts()]).toEqual([]);
});
