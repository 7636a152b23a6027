/** The buyer and the EC2 provider on the fake EC2: what is bought joins as a host of the test's fleet. */
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { DaySpend } from '../../../app/planner/fleet/day-spend.ts';
import type { FleetPolicy } from '../../../app/planner/fleet/fleet-seen.ts';
import { host, job, NOW_MS, planned, vm } from '../../../app/planner/moves-world.ts';
import type { Observed } from '../../../app/planner/observed.ts';
import type { Ec2Provider } from '../../../app/providers/ec2/ec2-provider.ts';
import { FleetBuyer } from '../../../app/reconciler/fleet/fleet-buyer.ts';
import type { FleetHost } from '../../../app/reconciler/ports.ts';
import type { HostPrice } from '../../../app/records/job-cost.ts';
import type { HostId } from '../../../host-agent/protocol/ids.ts';
import { openTestEc2 } from '../../contract/provider/ec2-fixture.ts';
import { type FakeEc2, startFakeEc2 } from '../../fakes/ec2/ec2-server.ts';
import { hostFacts } from '../../fixtures/protocol.ts';
import { fleetHost } from '../../fixtures/records.ts';

const { signal } = new AbortController();
const MINUTE_MS = 60_000;
const SPOT_A = 'm8i.xlarge/eu-central-1a/spot';

let ec2: FakeEc2;
let provider: Ec2Provider;
let buyer: FleetBuyer;
let hosts: FleetHost[];
let issued: string[];
let prices: (HostPrice & { readonly hostId: HostId })[];
let spent: Map<string, DaySpend>;
let limits: Partial<FleetPolicy>;
let nowMs: number;
let picture: Observed;

beforeEach(async () => {
  ec2 = await startFakeEc2();
  nowMs = Date.now();
  provider = openTestEc2({ endpoint: ec2.url, types: ['m8i.xlarge'], now: () => nowMs });
  hosts = [];
  issued = [];
  prices = [];
  spent = new Map();
  limits = {};
  picture = { jobs: [], hosts: [], vms: [], migrations: [], wishes: [], leftCopies: [] };
  buyer = openBuyer();
});
afterEach(async () => {
  provider.close();
  await ec2.stop();
});

function openBuyer(): FleetBuyer {
  const { policy } = provider;
  if (policy === undefined) throw new Error('EC2 hosts cost money');
  return new FleetBuyer({
    provider,
    policy: { ...policy, minHosts: 0, maxUsdPerHour: 0.5, headroom: { kind: 'off' }, ...limits },
    tokens: {
      issue: () => {
        issued.push(`architect_${issued.length}`);
        return issued.at(-1) ?? '';
      },
    },
    fleet: { hosts: () => hosts },
    evidence: {
      rememberPrice: (hostId, price) => void prices.push({ hostId, ...price }),
      addSpend: ({ day, usd, untilMs }) => {
        spent.set(day, { day, usd: usd + (spent.get(day)?.usd ?? 0), untilMs });
      },
      spendOn: (day) => spent.get(day),
    },
    now: () => nowMs,
    logger: pino({ level: 'silent' }),
  });
}

async function look(minutes = 1): Promise<void> {
  nowMs += minutes * MINUTE_MS;
  const [offers, machines] = await Promise.all([provider.offers(signal), provider.list(signal)]);
  await buyer.keep({ offers, machines, observed: { picture, atMs: nowMs }, signal });
}

function join(id: string, over: Parameters<typeof fleetHost>[0] = {}): void {
  const n = hosts.length + 1;
  const facts = hostFacts({ capacity: { vcpus: 4, memoryMib: 14_745, diskGib: 166 } });
  hosts.push(fleetHost({ id: `host-${n}`, hostname: id, facts, ...over }));
  picture = { ...picture, hosts: [...picture.hosts, host(n)] };
}

const alive = () => ec2.world.alive().map(({ id }) => id);
const queued = (n: number) => job(n, { state: 'queued', vmId: undefined });
const notice = { kind: 'interruption', deadlineMs: NOW_MS, source: 'ec2', seenAtMs: 1 } as const;

it('buys for what waits, once, and gives it back when it is empty and calm', async () => {
  picture = { ...picture, jobs: [queued(1)] };
  await look();
  await look();
  const [id = ''] = alive();
  expect(alive()).toHaveLength(1);
  expect(ec2.world.instances.get(id)?.template.userData).toContain(issued[0]);
  join(id);
  picture = { ...picture, jobs: [job(1)], vms: [vm(1)] };
  await look(30);
  expect(buyer.decisions.map(({ kind }) => kind)).toEqual(['launch']);
  picture = { ...picture, jobs: [], vms: [] };
  await look();
  expect([...buyer.emptyingHosts()]).toEqual(['host-1']);
  await look();
  expect(alive()).toEqual([]);
  expect(buyer.decisions.map(({ kind }) => kind)).toEqual(['launch', 'empty', 'terminate']);
});

it('buys nothing more once the day’s money is spent, and knows that after a restart', async () => {
  limits = { maxUsdPerDay: 1 };
  nowMs = Date.parse('2030-01-01T00:00:00Z');
  buyer = openBuyer();
  picture = { ...picture, jobs: [queued(1)] };
  await look();
  const [id = ''] = alive();
  join(id);
  picture = { ...picture, jobs: [job(1)], vms: [vm(1)] };
  await look();
  const rate = buyer.usdPerHour;
  const hoursLeft = 1 / rate - 2;
  buyer = openBuyer();
  await look(hoursLeft * 60 + 5);
  expect(buyer.usdToday).toBeCloseTo(
    ((nowMs - Date.parse('2030-01-01T00:01:00Z')) / 3_600_000) * rate,
    1,
  );
  picture = { ...picture, jobs: [job(1), queued(2), queued(3), queued(4)] };
  await look();
  expect(alive()).toEqual([id]);
  await look((24 - hoursLeft) * 60);
  await look();
  expect(alive().length).toBeGreaterThan(1);
});

it('does nothing before there is a picture, or on one that is older than its last deed', async () => {
  picture = { ...picture, jobs: [queued(1)] };
  const seen = { offers: await provider.offers(signal), machines: [], signal };
  await buyer.keep({ ...seen, observed: undefined });
  expect(alive()).toEqual([]);
  const observed = { picture, atMs: nowMs };
  await buyer.keep({ ...seen, observed });
  await buyer.keep({ ...seen, observed });
  expect(alive()).toHaveLength(1);
});

it('ends what never joined, and does not buy the same again at once', async () => {
  picture = { ...picture, jobs: [queued(1)] };
  await look();
  const [never] = alive();
  await look();
  await look(15);
  await look();
  const machines = [...ec2.world.instances.values()];
  expect(machines.find(({ id }) => id === never)?.state).toBe('terminated');
  expect(machines.at(-1)?.zone).toBe('eu-central-1b');
  expect(alive()).toHaveLength(1);
});

it('replaces a machine that EC2 takes back, elsewhere, and leaves it to its VMs', async () => {
  picture = { ...picture, jobs: [queued(1)] };
  await look();
  const [id = ''] = alive();
  join(id, { report: { notice } });
  picture = { ...picture, jobs: [job(1)], vms: [vm(1)] };
  await look();
  expect(alive()).toHaveLength(2);
  expect(provider.shutOffers?.()).toMatchObject([{ offerId: SPOT_A }]);
  expect(ec2.world.alive().at(-1)?.zone).toBe('eu-central-1b');
});

it('replaces a machine at a mere hint, and gives it back once its VMs have left early', async () => {
  picture = { ...picture, jobs: [queued(1)] };
  await look();
  const [hinted = ''] = alive();
  const hint = { kind: 'rebalance', deadlineMs: null, source: 'ec2', seenAtMs: 1 } as const;
  join(hinted, { report: { notice: hint } });
  picture = { ...picture, hosts: [host(1, { notice: hint })], jobs: [job(1)], vms: [vm(1)] };
  expect(planned(picture)).toEqual([]);
  await look();
  const [, replacement = ''] = alive();
  expect(replacement).not.toBe('');
  join(replacement);
  expect(planned(picture)).toMatchObject([{ kind: 'move-vm', from: 'host-1', to: 'host-2' }]);
  picture = { ...picture, vms: [vm(1, { hostId: host(2).id })] };
  await look();
  expect([...buyer.emptyingHosts()]).toEqual(['host-1']);
  await look();
  expect(alive()).toEqual([replacement]);
});

it('never spends more than it may, whatever waits and whatever it must buy instead', async () => {
  ec2.world.capacity.set(SPOT_A, 0).set('m8i.xlarge/eu-central-1b/spot', 1);
  picture = { ...picture, jobs: Array.from({ length: 40 }, (_, n) => queued(n + 1)) };
  for (let n = 0; n < 6; n += 1) {
    await look();
    expect(buyer.usdPerHour).toBeLessThanOrEqual(0.5);
  }
  const bought = ec2.world.alive().map(({ spot }) => (spot ? 0.09 : 0.3));
  expect(bought.toSorted()).toEqual([0.09, 0.3]);
});

it('moves to what is cheaper, live: buys it, empties the dear one, gives that back', async () => {
  ec2.world.spotUsd.set('m8i.xlarge/eu-central-1a', 0.25).set('m8i.xlarge/eu-central-1b', 0.26);
  picture = { ...picture, jobs: [queued(1)] };
  await look();
  const [dear = ''] = alive();
  join(dear);
  picture = { ...picture, jobs: [job(1)], vms: [vm(1)] };
  await look(30);
  expect(alive()).toEqual([dear]);
  ec2.world.spotUsd.set('m8i.xlarge/eu-central-1b', 0.05);
  await look(30);
  const [, cheap = ''] = alive();
  expect(ec2.world.instances.get(cheap)?.zone).toBe('eu-central-1b');
  join(cheap);
  await look(30);
  await look(30);
  expect([...buyer.emptyingHosts()]).toEqual(['host-1']);
  picture = { ...picture, vms: [vm(1, { hostId: host(2).id })] };
  await look();
  expect(alive()).toEqual([cheap]);
  expect(buyer.decisions.map(({ why }) => why)).toEqual([
    expect.stringContaining('wait'),
    expect.stringMatching(
      /^Cheaper than i-\w+ \(m8i.xlarge\/eu-central-1a\/spot\): \(\$0.25 − \$0.05\)/,
    ),
    expect.stringContaining('The others have room'),
    'It is empty and not needed.',
  ]);
});

it('keeps what a host costs, beside on demand, each time that it changes', async () => {
  picture = { ...picture, jobs: [queued(1)] };
  await look();
  expect(prices).toEqual([]);
  join(alive()[0] ?? '');
  await look();
  await look();
  const price = { vcpus: 4, memoryMib: 14_745, onDemandUsdPerHour: 0.3 };
  expect(prices).toEqual([
    { ...price, hostId: 'host-1', usdPerHour: 0.08, fromMs: expect.any(Number) },
  ]);
  ec2.world.spotUsd.set('m8i.xlarge/eu-central-1a', 0.07);
  await look(10);
  expect(prices.map(({ usdPerHour }) => usdPerHour)).toEqual([0.08, 0.07]);
});

it('writes down what failed, and goes on', async () => {
  ec2.world.faults.push({ action: 'CreateFleet', code: 'UnauthorizedOperation' });
  picture = { ...picture, jobs: [queued(1)] };
  await look();
  expect(buyer.decisions).toMatchObject([
    { failed: expect.stringContaining('UnauthorizedOperation') },
  ]);
  await look();
  expect(alive()).toHaveLength(1);
});
