/** What AWS tells of the risk of spot, and what becomes of offers when it does not. */
import { createServer, type Server } from 'node:http';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Ec2Provider } from '../../../app/providers/ec2/ec2-provider.ts';
import { type FakeEc2, startFakeEc2 } from '../../fakes/ec2/ec2-server.ts';
import { openTestEc2 } from './ec2-fixture.ts';

const { signal } = new AbortController();
const MINUTE_MS = 60_000;
const ADVICE = {
  ranges: [
    { index: 0, label: '<5%', dots: 0, max: 5 },
    { index: 1, label: '5-10%', dots: 1, max: 11 },
  ],
  spot_advisor: { 'eu-central-1': { Linux: { 'm8i.xlarge': { s: 61, r: 1 } } } },
};

let ec2: FakeEc2;
let advisor: Server;
let advice: { status: number; text: string };
let asked: number;
let nowMs: number;
let provider: Ec2Provider;

beforeEach(async () => {
  ec2 = await startFakeEc2();
  nowMs = Date.now();
  asked = 0;
  advice = { status: 200, text: JSON.stringify(ADVICE) };
  advisor = createServer((_, response) => {
    asked += 1;
    response.writeHead(advice.status).end(advice.text);
  });
  await new Promise<void>((resolve) => advisor.listen(0, '127.0.0.1', resolve));
  const address = advisor.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  provider = openTestEc2({
    ...{ endpoint: ec2.url, types: ['m8i.*'], now: () => nowMs, placementScores: true },
    spotAdvisor: `http://127.0.0.1:${address.port}/spot-advisor-data.json`,
  });
});
afterEach(async () => {
  provider.close();
  advisor.closeAllConnections();
  await new Promise((resolve) => advisor.close(resolve));
  await ec2.stop();
});

async function risks() {
  const offers = await provider.offers(signal);
  return Object.fromEntries(
    offers.map(({ id, reclaimsPerMonth, placementScore }) => [
      id.replace('eu-central-1', ''),
      [reclaimsPerMonth, placementScore],
    ]),
  );
}

it('knows of each spot offer its type’s band and its zone’s score', async () => {
  ec2.world.scores.set('euc1-az2', 9).set('euc1-az3', 3).set('euc1-az1', 1);
  expect(await risks()).toEqual({
    'm8i.xlarge/a/spot': [0.08, 9],
    'm8i.xlarge/b/spot': [0.08, 3],
    'm8i.2xlarge/a/spot': [undefined, 9],
    'm8i.2xlarge/b/spot': [undefined, 3],
    'm8i.xlarge/a/on-demand': [undefined, undefined],
    'm8i.xlarge/b/on-demand': [undefined, undefined],
    'm8i.2xlarge/a/on-demand': [undefined, undefined],
    'm8i.2xlarge/b/on-demand': [undefined, undefined],
  });
  nowMs += 30 * MINUTE_MS;
  await risks();
  expect(asked).toBe(1);
  expect(ec2.world.seen.filter((one) => one === 'GetSpotPlacementScores')).toHaveLength(1);
});

it.each([
  ['is away', { status: 503, text: '' }],
  ['says something else', { status: 200, text: '{"spot_advisor":[]}' }],
  ['says too much', { status: 200, text: JSON.stringify(ADVICE) + ' '.repeat(33 * 1024 * 1024) }],
])('sells without it while the advisor %s, and asks again later', async (_, broken) => {
  advice = broken;
  expect((await risks())['m8i.xlarge/a/spot']).toEqual([undefined, undefined]);
  advice = { status: 200, text: JSON.stringify(ADVICE) };
  nowMs += 11 * MINUTE_MS;
  expect((await risks())['m8i.xlarge/a/spot']).toEqual([0.08, undefined]);
});

it('sells without scores where the account has asked for too many', async () => {
  ec2.world.faults.push({ action: 'GetSpotPlacementScores', code: 'MaxConfigLimitExceeded' });
  ec2.world.scores.set('euc1-az2', 9);
  expect((await risks())['m8i.xlarge/a/spot']).toEqual([0.08, undefined]);
  nowMs += 11 * MINUTE_MS;
  expect((await risks())['m8i.xlarge/a/spot']).toEqual([0.08, 9]);
});
