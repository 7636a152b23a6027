import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Ec2Provider } from '../../../app/providers/ec2/ec2-provider.ts';
import type { LaunchRequest } from '../../../app/providers/provider.ts';
import { type FakeEc2, startFakeEc2 } from '../../fakes/ec2/ec2-server.ts';
import { openTestEc2, TOKEN } from './ec2-fixture.ts';

const { signal } = new AbortController();
const SPOT_A = 'm8i.xlarge/eu-central-1a/spot';
const SPOT_B = 'm8i.xlarge/eu-central-1b/spot';
const ON_DEMAND_A = 'm8i.xlarge/eu-central-1a/on-demand';
const HOUR_MS = 3_600_000;

let ec2: FakeEc2;
let nowMs: number;
let opened: Ec2Provider[];

beforeEach(async () => {
  ec2 = await startFakeEc2();
  nowMs = Date.now();
  opened = [];
});
afterEach(async () => {
  for (const provider of opened) provider.close();
  await ec2.stop();
});

function open(over: Partial<Parameters<typeof openTestEc2>[0]> = {}): Ec2Provider {
  const types = ['m8i.xlarge'];
  const provider = openTestEc2({ endpoint: ec2.url, types, now: () => nowMs, ...over });
  opened.push(provider);
  return provider;
}

function want(over: Partial<LaunchRequest> = {}): LaunchRequest {
  const clientToken = randomUUID();
  const maxPricePerHourUsd = 1;
  return { offerId: SPOT_A, clientToken, enrolmentToken: TOKEN, maxPricePerHourUsd, ...over };
}

const offerIds = async (provider: Ec2Provider) =>
  (await provider.offers(signal)).map(({ id }) => id);
const count = (action: string) => ec2.world.seen.filter((one) => one === action).length;

describe('what it sells', () => {
  it('offers types that can run guests only, spot and on demand, at their newest prices', async () => {
    const offers = await open({ types: ['*'] }).offers(signal);
    const types = new Set(offers.map(({ id }) => id.split('/')[0]));
    expect([...types].sort()).toEqual(['c8i.2xlarge', 'm8i.2xlarge', 'm8i.xlarge']);
    expect(offers.find(({ id }) => id === SPOT_A)).toMatchObject({
      capacity: { vcpus: 4, memoryMib: 14_745, diskGib: 166 },
      pricePerHourUsd: 0.08,
    });
    expect(offers.find(({ id }) => id === ON_DEMAND_A)?.pricePerHourUsd).toBe(0.3);
  });

  it('reads prices every few minutes and not more often, and goes on with old ones', async () => {
    const provider = open();
    await provider.offers(signal);
    await provider.offers(signal);
    expect(count('DescribeSpotPriceHistory')).toBe(1);
    nowMs += 200_000;
    ec2.world.spotUsd.set('m8i.xlarge/eu-central-1a', 0.5);
    ec2.world.faults.push({ action: 'DescribeSpotPriceHistory', code: 'UnauthorizedOperation' });
    expect((await provider.offers(signal))[0]?.pricePerHourUsd).toBe(0.08);
    expect((await provider.offers(signal)).at(-1)?.pricePerHourUsd).toBe(0.5);
  });

  it('knows prices on demand from AWS’s price list, and the settings’ before those', async () => {
    ec2.world.pageSize = 1;
    ec2.world.onDemandUsd.set('c8i.2xlarge', 0.4).set('m8i.xlarge', 0.25).set('m8i.2xlarge', 0.5);
    const provider = open({ types: ['*'], onDemandUsdPerHour: { 'm8i.2xlarge': 0.45 } });
    const offers = await provider.offers(signal);
    const onDemand = offers.filter(({ spot, place }) => !spot && place.endsWith('a'));
    expect(
      Object.fromEntries(onDemand.map(({ id, pricePerHourUsd }) => [id, pricePerHourUsd])),
    ).toEqual({
      [ON_DEMAND_A]: 0.25,
      'c8i.2xlarge/eu-central-1a/on-demand': 0.4,
      'm8i.2xlarge/eu-central-1a/on-demand': 0.45,
    });
    expect(count('GetProducts')).toBe(3);
    nowMs += HOUR_MS;
    await provider.offers(signal);
    expect(count('GetProducts')).toBe(3);
  });

  it.each(['AccessDeniedException', 'ThrottlingException', 'InternalError', 'lost'])(
    'sells spot while the price list answers %s, and asks it again later',
    async (code) => {
      ec2.world.onDemandUsd.set('m8i.xlarge', 0.25);
      ec2.world.faults.push({ action: 'GetProducts', code });
      const provider = open({ onDemandUsdPerHour: {} });
      expect(await offerIds(provider)).toEqual([SPOT_A, SPOT_B]);
      nowMs += 5 * 60_000;
      expect(await offerIds(provider)).toEqual([SPOT_A, SPOT_B]);
      nowMs += 6 * 60_000;
      expect(await offerIds(provider)).toContain(ON_DEMAND_A);
    },
  );

  it('asks no price list where the settings forbid it', async () => {
    expect(await offerIds(open({ priceList: false }))).toContain(ON_DEMAND_A);
    expect(count('GetProducts')).toBe(0);
  });

  it('reads all pages', async () => {
    ec2.world.pageSize = 1;
    expect(await offerIds(open())).toHaveLength(4);
  });
});

describe('a launch', () => {
  it('asks for what is safe: sessions for metadata, no public address, encrypted disks', async () => {
    const { machineId } = await open().launch(want(), signal);
    const instance = ec2.world.instances.get(machineId);
    expect(instance?.template).toMatchObject({
      httpTokens: 'required',
      hopLimit: 1,
      publicAddress: false,
      encrypted: true,
      nested: true,
      profile: 'architect-host',
    });
    expect(Object.fromEntries(instance?.tags ?? [])).toMatchObject({
      'architect:fleet': 'main',
      'architect:owner': 'owner1',
      'architect:pool': 'pool-test',
      'architect:generation': expect.any(String),
    });
    expect(instance?.template.userData).toContain(`host join - <<'TOKEN'\n${TOKEN}\nTOKEN\n`);
    expect(ec2.world.templates.size).toBe(0);
  });

  it('finds another zone when its own has none, and leaves that one alone for a while', async () => {
    ec2.world.capacity.set(SPOT_A, 0);
    const provider = open();
    expect((await provider.launch(want(), signal)).offerId).toBe(SPOT_B);
    expect(await offerIds(provider)).not.toContain(SPOT_A);
    expect(provider.shutOffers?.()).toMatchObject([
      { offerId: SPOT_A, why: 'InsufficientInstanceCapacity' },
    ]);
    nowMs += HOUR_MS;
    expect(await offerIds(provider)).toContain(SPOT_A);
  });

  it('prefers another type in its own zone to another zone', async () => {
    ec2.world.capacity.set(SPOT_A, 0);
    const host = await open({ types: ['m8i.*'] }).launch(want(), signal);
    expect(host.offerId).toBe('m8i.2xlarge/eu-central-1a/spot');
  });

  it.each(['MaxSpotInstanceCountExceeded', 'SpotMaxPriceTooLow', 'UnsupportedOperation'])(
    'goes on demand when spot answers %s everywhere',
    async (code) => {
      ec2.world.refusals.set(SPOT_A, code).set(SPOT_B, code);
      expect((await open().launch(want(), signal)).offerId).toBe(ON_DEMAND_A);
    },
  );

  it.each([
    ['nothing dearer than it may', {}, { maxPricePerHourUsd: 0.1 }],
    ['nothing that the operator rules out', { fallbacks: ['zone'] }, {}],
  ])('buys %s', async (_, settings, request) => {
    ec2.world.capacity.set(SPOT_A, 0).set(SPOT_B, 0);
    const launch = open(settings).launch(want(request), signal);
    await expect(launch).rejects.toMatchObject({ code: 'EC2_CAPACITY', retry: 'later' });
    expect(ec2.world.instances.size).toBe(0);
    expect(ec2.world.templates.size).toBe(0);
  });

  it('tries the next where EC2 refuses the call as a whole for lack of capacity', async () => {
    ec2.world.faults.push({ action: 'CreateFleet', code: 'UnfulfillableCapacity' });
    expect((await open().launch(want(), signal)).offerId).toBe(SPOT_B);
  });

  it('names the quota that is used up', async () => {
    ec2.world.refusals.set(SPOT_A, 'VcpuLimitExceeded').set(SPOT_B, 'VcpuLimitExceeded');
    const launch = open({ fallbacks: ['zone'] }).launch(want(), signal);
    await expect(launch).rejects.toMatchObject({ code: 'EC2_QUOTA', retry: 'later' });
  });

  it('does not buy what EC2 took back a moment ago', async () => {
    const provider = open();
    const { machineId } = await provider.launch(want(), signal);
    await provider.list(signal);
    provider.noteReclaim?.(machineId);
    expect((await provider.launch(want(), signal)).offerId).toBe(SPOT_B);
  });
});

describe('never twice', () => {
  it('buys one when the answer is lost', async () => {
    ec2.world.faults.push({ action: 'CreateFleet', code: 'lost' });
    const provider = open();
    const { machineId } = await provider.launch(want(), signal);
    expect(count('CreateFleet')).toBe(2);
    expect([...ec2.world.instances.keys()]).toEqual([machineId]);
  });

  it.each([0, 5])(
    'finds what a process that crashed had bought, while %i lists do not show it',
    async (lag) => {
      ec2.world.lag = lag;
      const request = want();
      const { machineId } = await open().launch(request, signal);
      const again = await open().launch({ ...request, enrolmentToken: `${TOKEN}y` }, signal);
      expect(again.machineId).toBe(machineId);
      expect(ec2.world.instances.size).toBe(1);
    },
  );

  it('lists what it bought although EC2 does not yet, and ends it when EC2 does', async () => {
    ec2.world.lag = 3;
    const provider = open();
    const { machineId } = await provider.launch(want(), signal);
    expect(await provider.list(signal)).toMatchObject([{ machineId, pricePerHourUsd: 0.08 }]);
    const early = provider.terminate(machineId, signal);
    await expect(early).rejects.toMatchObject({ code: 'EC2_UNAVAILABLE', retry: 'later' });
    await provider.list(signal);
    await provider.terminate(machineId, signal);
    expect(ec2.world.alive()).toEqual([]);
    expect(await provider.list(signal)).toEqual([]);
  });

  it('ends what was bought when the launch was cancelled meanwhile', async () => {
    const stop = new AbortController();
    ec2.world.hooks = { launched: () => stop.abort(new Error('no longer wanted')) };
    await expect(open().launch(want(), stop.signal)).rejects.toThrow('no longer wanted');
    expect(ec2.world.instances.size).toBe(1);
    expect(ec2.world.alive()).toEqual([]);
    expect(ec2.world.templates.size).toBe(0);
  });

  it('forgets a machine that EC2 took back', async () => {
    const provider = open();
    const { machineId } = await provider.launch(want(), signal);
    ec2.world.interrupt(machineId);
    nowMs += 60_000;
    expect(await provider.list(signal)).toEqual([]);
  });
});

describe('what is not ours, and what is left over', () => {
  it("neither lists nor ends another control plane's instances", async () => {
    const mine = open();
    const theirs = await open({ ownerId: 'owner2' }).launch(want(), signal);
    const foreign = ec2.world.addForeign(new Map([['architect:fleet', 'main']]));
    expect(await mine.list(signal)).toEqual([]);
    await mine.terminate(theirs.machineId, signal);
    await mine.terminate(foreign.id, signal);
    expect(ec2.world.alive()).toHaveLength(2);
  });

  it('lists all pages of its own', async () => {
    ec2.world.pageSize = 2;
    const provider = open();
    for (let n = 0; n < 5; n += 1) await provider.launch(want(), signal);
    expect(await open().list(signal)).toHaveLength(5);
  });

  it('deletes templates that a crash left, and only when no launch can need them', async () => {
    for (let n = 0; n < 3; n += 1)
      ec2.world.faults.push({ action: 'DeleteLaunchTemplate', code: 'InternalError' });
    await open().launch(want(), signal);
    await open().list(signal);
    expect(ec2.world.templates.size).toBe(1);
    for (const template of ec2.world.templates.values()) template.createdAtMs -= HOUR_MS;
    await open({ ownerId: 'owner2' }).list(signal);
    expect(ec2.world.templates.size).toBe(1);
    await open().list(signal);
    expect(ec2.world.templates.size).toBe(0);
  });
});

it('lists hosts although left-overs cannot be looked for', async () => {
  ec2.world.faults.push({ action: 'DescribeLaunchTemplates', code: 'UnauthorizedOperation' });
  const provider = open();
  const { machineId } = await provider.launch(want(), signal);
  expect(await provider.list(signal)).toMatchObject([{ machineId }]);
});

describe('errors', () => {
  it('waits out throttling, and says so when it does not end', async () => {
    const throttle = { action: 'DescribeInstances', code: 'RequestLimitExceeded' };
    ec2.world.faults.push(throttle);
    expect(await open().list(signal)).toEqual([]);
    ec2.world.faults.push(throttle, throttle, throttle);
    await expect(open().list(signal)).rejects.toMatchObject({
      code: 'EC2_THROTTLED',
      retry: 'later',
    });
  });

  it.each([
    ['ExpiredToken', 'EC2_CREDENTIALS', 'later'],
    ['RequestExpired', 'EC2_CREDENTIALS', 'later'],
    ['UnauthorizedOperation', 'EC2_REFUSED', 'never'],
  ])('translates %s, without a secret in it', async (code, ours, retry) => {
    ec2.world.faults.push({ action: 'CreateFleet', code });
    const error = await open()
      .launch(want(), signal)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: ours, retry });
    const told = inspect(error, { depth: 20, showHidden: true });
    for (const secret of [TOKEN, Buffer.from(TOKEN).toString('base64'), 'very-secret-key'])
      expect(told).not.toContain(secret);
    expect(ec2.world.templates.size).toBe(0);
  });

  it('says that EC2 is away', async () => {
    await ec2.stop();
    const list = open().list(signal);
    await expect(list).rejects.toMatchObject({ code: 'EC2_UNAVAILABLE', retry: 'later' });
    ec2 = await startFakeEc2();
  });
});
