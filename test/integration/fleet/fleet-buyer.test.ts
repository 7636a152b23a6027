import { afterEach, beforeEach, expect, it } from 'vitest';
import { host, job, NOW_MS, planned, vm } from '../../../app/planner/moves-world.ts';
import { BuyerRig, queued } from './buyer-rig.ts';

const { signal } = new AbortController();
const SPOT_A = 'm8i.xlarge/eu-central-1a/spot';

let rig: BuyerRig;

beforeEach(async () => {
  rig = await BuyerRig.open();
});
afterEach(() => rig.close());

const notice = { kind: 'interruption', deadlineMs: NOW_MS, source: 'ec2', seenAtMs: 1 } as const;

it('buys for what waits, once, and gives it back when it is empty and calm', async () => {
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  await rig.look();
  const [id = ''] = rig.alive();
  expect(rig.alive()).toHaveLength(1);
  expect(rig.ec2.world.instances.get(id)?.template.userData).toContain(rig.issued[0]);
  rig.join(id);
  rig.picture = { ...rig.picture, jobs: [job(1)], vms: [vm(1)] };
  await rig.look(30);
  expect(rig.buyer.decisions.map(({ kind }) => kind)).toEqual(['launch']);
  rig.picture = { ...rig.picture, jobs: [], vms: [] };
  await rig.look();
  expect([...rig.buyer.emptyingHosts()]).toEqual(['host-1']);
  await rig.look();
  expect(rig.alive()).toEqual([]);
  expect(rig.buyer.decisions.map(({ kind }) => kind)).toEqual(['launch', 'empty', 'terminate']);
});

it('buys nothing more once the day’s money is spent, and knows that after a restart', async () => {
  rig.limits = { maxUsdPerDay: 1 };
  rig.nowMs = Date.parse('2030-01-01T00:00:00Z');
  rig.buyer = rig.openBuyer();
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  const [id = ''] = rig.alive();
  rig.join(id);
  rig.picture = { ...rig.picture, jobs: [job(1)], vms: [vm(1)] };
  await rig.look();
  const rate = rig.buyer.usdPerHour;
  const hoursLeft = 1 / rate - 2;
  rig.buyer = rig.openBuyer();
  await rig.look(hoursLeft * 60 + 5);
  expect(rig.buyer.usdToday).toBeCloseTo(
    ((rig.nowMs - Date.parse('2030-01-01T00:01:00Z')) / 3_600_000) * rate,
    1,
  );
  rig.picture = { ...rig.picture, jobs: [job(1), queued(2), queued(3), queued(4)] };
  await rig.look();
  expect(rig.alive()).toEqual([id]);
  await rig.look((24 - hoursLeft) * 60);
  await rig.look();
  expect(rig.alive().length).toBeGreaterThan(1);
});

it('does nothing before there is a picture, or on one that is older than its last deed', async () => {
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  const seen = { offers: await rig.provider.offers(signal), machines: [], signal };
  await rig.buyer.keep({ ...seen, observed: undefined });
  expect(rig.alive()).toEqual([]);
  const observed = { picture: rig.picture, atMs: rig.nowMs };
  await rig.buyer.keep({ ...seen, observed });
  await rig.buyer.keep({ ...seen, observed });
  expect(rig.alive()).toHaveLength(1);
});

it('ends what never joined, and does not buy the same again at once', async () => {
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  const [never] = rig.alive();
  await rig.look();
  await rig.look(15);
  await rig.look();
  const machines = [...rig.ec2.world.instances.values()];
  expect(machines.find(({ id }) => id === never)?.state).toBe('terminated');
  expect(machines.at(-1)?.zone).toBe('eu-central-1b');
  expect(rig.alive()).toHaveLength(1);
});

it('replaces a machine that EC2 takes back, elsewhere, and leaves it to its VMs', async () => {
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  const [id = ''] = rig.alive();
  rig.join(id, { report: { notice } });
  rig.picture = { ...rig.picture, jobs: [job(1)], vms: [vm(1)] };
  await rig.look();
  expect(rig.alive()).toHaveLength(2);
  expect(rig.provider.shutOffers?.()).toMatchObject([{ offerId: SPOT_A }]);
  expect(rig.ec2.world.alive().at(-1)?.zone).toBe('eu-central-1b');
});

it('replaces a machine at a mere hint, and gives it back once its VMs have left early', async () => {
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  const [hinted = ''] = rig.alive();
  const hint = { kind: 'rebalance', deadlineMs: null, source: 'ec2', seenAtMs: 1 } as const;
  rig.join(hinted, { report: { notice: hint } });
  rig.picture = {
    ...rig.picture,
    hosts: [host(1, { notice: hint })],
    jobs: [job(1)],
    vms: [vm(1)],
  };
  expect(planned(rig.picture)).toEqual([]);
  await rig.look();
  const [, replacement = ''] = rig.alive();
  expect(replacement).not.toBe('');
  rig.join(replacement);
  expect(planned(rig.picture)).toMatchObject([{ kind: 'move-vm', from: 'host-1', to: 'host-2' }]);
  rig.picture = { ...rig.picture, vms: [vm(1, { hostId: host(2).id })] };
  await rig.look();
  expect([...rig.buyer.emptyingHosts()]).toEqual(['host-1']);
  await rig.look();
  expect(rig.alive()).toEqual([replacement]);
});

it('never spends more than it may, whatever waits and whatever it must buy instead', async () => {
  rig.ec2.world.capacity.set(SPOT_A, 0).set('m8i.xlarge/eu-central-1b/spot', 1);
  rig.picture = { ...rig.picture, jobs: Array.from({ length: 40 }, (_, n) => queued(n + 1)) };
  for (let n = 0; n < 6; n += 1) {
    await rig.look();
    expect(rig.buyer.usdPerHour).toBeLessThanOrEqual(0.5);
  }
  const bought = rig.ec2.world.alive().map(({ spot }) => (spot ? 0.09 : 0.3));
  expect(bought.toSorted()).toEqual([0.09, 0.3]);
});

it('moves to what is cheaper, live: buys it, empties the dear one, gives that back', async () => {
  rig.ec2.world.spotUsd.set('m8i.xlarge/eu-central-1a', 0.25).set('m8i.xlarge/eu-central-1b', 0.26);
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  const [dear = ''] = rig.alive();
  rig.join(dear);
  rig.picture = { ...rig.picture, jobs: [job(1)], vms: [vm(1)] };
  await rig.look(30);
  expect(rig.alive()).toEqual([dear]);
  rig.ec2.world.spotUsd.set('m8i.xlarge/eu-central-1b', 0.05);
  await rig.look(30);
  await rig.look(30);
  expect(rig.alive()).toEqual([dear]);
  await rig.look(30);
  const [, cheap = ''] = rig.alive();
  expect(rig.ec2.world.instances.get(cheap)?.zone).toBe('eu-central-1b');
  rig.join(cheap);
  await rig.look(30);
  await rig.look(30);
  expect([...rig.buyer.emptyingHosts()]).toEqual(['host-1']);
  rig.picture = { ...rig.picture, vms: [vm(1, { hostId: host(2).id })] };
  await rig.look();
  expect(rig.alive()).toEqual([cheap]);
  expect(rig.buyer.decisions.map(({ why }) => why)).toEqual([
    expect.stringContaining('wait'),
    expect.stringMatching(
      /^Cheaper than i-\w+ \(m8i.xlarge\/eu-central-1a\/spot\): \(\$0.25 − \$0.05\)/,
    ),
    expect.stringContaining('The others have room'),
    'It is empty and not needed.',
  ]);
});

it('keeps what a host costs, beside on demand, each time that it changes', async () => {
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  expect(rig.prices).toEqual([]);
  rig.join(rig.alive()[0] ?? '');
  await rig.look();
  await rig.look();
  const offer = 'm8i.xlarge/eu-central-1a/spot';
  const price = { vcpus: 4, memoryMib: 14_745, onDemandUsdPerHour: 0.3, offer };
  expect(rig.prices).toEqual([
    { ...price, hostId: 'host-1', usdPerHour: 0.08, fromMs: expect.any(Number) },
  ]);
  rig.ec2.world.spotUsd.set('m8i.xlarge/eu-central-1a', 0.07);
  await rig.look(10);
  expect(rig.prices.map(({ usdPerHour }) => usdPerHour)).toEqual([0.08, 0.07]);
});

it('writes down what failed, and goes on', async () => {
  rig.ec2.world.faults.push({ action: 'CreateFleet', code: 'UnauthorizedOperation' });
  rig.picture = { ...rig.picture, jobs: [queued(1)] };
  await rig.look();
  expect(rig.buyer.decisions).toMatchObject([
    { failed: expect.stringContaining('UnauthorizedOperation') },
  ]);
  await rig.look();
  expect(rig.alive()).toHaveLength(1);
});
