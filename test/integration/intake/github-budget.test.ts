/** GitHub's 900 points a minute, shared by what is registered, polled and sent again. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createGithubClient, type SingleAppClient } from '../../../app/github/client.ts';
import { listDeliveries, redeliver } from '../../../app/github/delivery-log.ts';
import { createGithubRunners } from '../../../app/github/runners.ts';
import { createLogger } from '../../../app/log.ts';
import type { Runners } from '../../../app/reconciler/ports.ts';
import { jobFacts } from '../../fixtures/records.ts';
import { type FakeApi, startFakeApi } from './fake-api.ts';
import { privateKey, SECRET } from './intake-rig.ts';

const { origin } = jobFacts();
const MINT = 'POST /orgs/acme/actions/runners/generate-jitconfig';
const LOG = 'GET /app/hook/deliveries';
const LINK = '<https://example.com/?cursor=v1_2>; rel="next"';
const DELIVERY = {
  ...{ id: 1, guid: 'a-1', delivered_at: '2026-11-25T12:00:00Z' },
  ...{ status_code: 502, event: 'workflow_job' },
};

let api: FakeApi;
let client: SingleAppClient;
let runners: Runners;
let nowMs = 0;

beforeEach(async () => {
  api = await startFakeApi();
  nowMs = Date.parse('2026-11-25T12:00:30Z');
  api.answers['POST /app/installations/1/access_tokens'] =
    api.answers['POST /app/installations/5/access_tokens'] ?? [];
  api.answers[MINT] = [{ status: 201, body: { runner: { id: 31 }, encoded_jit_config: 'jit' } }];
  api.answers[LOG] = [{ status: 200, body: [DELIVERY], headers: { link: LINK } }];
  api.answers['POST /app/hook/deliveries/1/attempts'] = [{ status: 202, body: {} }];
  const github = { apiUrl: api.url, appId: 1, privateKey, webhookSecret: SECRET };
  const logger = createLogger({ logLevel: 'silent', fleet: 'test', github }, { write: () => {} });
  client = createGithubClient({ github, logger, now: () => nowMs });
  runners = createGithubRunners({ client, now: () => nowMs });
});
afterEach(() => api.close());

const seen = (end: string) =>
  api.seen.filter(({ path }) => path.split('?')[0]?.endsWith(end)).length;

async function mintAll(): Promise<number> {
  let count = 0;
  while (runners.mayMint(origin)) {
    await runners.mint({ origin, labels: ['architect'], runnerName: `architect-vm-${count}` });
    count += 1;
  }
  return count;
}

it('the log of deliveries takes little of a minute that is full of registrations', async () => {
  expect(await mintAll()).toBe(150);
  expect((await listDeliveries(client, 0)).complete).toBe(false);
  expect(seen('/deliveries')).toBe(10);
  while (client.mayUseLog('write')) await redeliver(client, 1);
  expect(seen('/attempts')).toBe(2);
  nowMs += 60_000;
  await listDeliveries(client, 0);
  expect(seen('/deliveries')).toBe(60);
});

it('what was polled and sent again, a burst of registrations cannot have', async () => {
  for (let n = 0; n < 130; n += 1) await redeliver(client, 1);
  // 880 of the 900 points, 5 each; 130 are spent, and one is a token's.
  expect(await mintAll()).toBe(45);
  nowMs += 60_000;
  expect(await mintAll()).toBe(150);
});

it('while runners wait to be registered, polling keeps to its least', async () => {
  for (let n = 0; n < 130; n += 1) await redeliver(client, 1);
  await mintAll();
  nowMs += 30_000;
  expect(await mintAll()).toBe(0);
  nowMs += 45_000;
  expect((await listDeliveries(client, 0)).complete).toBe(false);
  expect(seen('/deliveries')).toBe(10);
  expect(await mintAll()).toBe(150);
});
