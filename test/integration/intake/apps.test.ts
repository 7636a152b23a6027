/** Two Apps at once: each with its own installations, limits, log of deliveries and secret. */
import { createHmac, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MAX_MINTS_PER_MINUTE } from '../../../app/github/runners.ts';
import { JobId } from '../../../host-agent/protocol/ids.ts';
import {
  APP_ID,
  KEYS,
  OTHER_APP,
  WEBHOOK_SECRET,
  WITH_OTHER_APP,
} from '../../contract/github/fixture.ts';
import { hastenClock } from './fast-clock.ts';
import { jobEvent, sign } from './intake-rig.ts';
import { type PollRig, startPollRig } from './poll-rig.ts';
import { expectAllRunOnce, pushJobs } from './run-once.ts';
import { installOther, pushOther } from './two-apps.ts';
import { startWholeIntake, type WholeIntake } from './whole-intake.ts';

const JOBS = 12;

describe('the whole intake', () => {
  let whole: WholeIntake;

  beforeEach(async () => {
    hastenClock(60);
    whole = await startWholeIntake(WITH_OTHER_APP);
    installOther(whole.fixture);
  });
  afterEach(async () => {
    await whole.close();
    vi.unstubAllGlobals();
  });

  const push = () => [
    ...pushJobs(whole, 'architect', JOBS),
    ...pushOther(whole.fixture.github.simulation, JOBS),
  ];

  it('runs the jobs of both', async () => {
    await expectAllRunOnce(whole, push());
  });

  it('runs them as well when every webhook is lost', async () => {
    const drop = { count: 10_000, unrecorded: true };
    await whole.fixture.control('PUT', '/faults/deliveries', { drop });
    await expectAllRunOnce(whole, push());
  });

  it('goes on with the one while GitHub does not know the other any more', async () => {
    const { simulation } = whole.fixture.github;
    const { world } = simulation;
    await whole.fixture.control('PUT', '/faults/deliveries', {
      drop: { count: 10_000, unrecorded: true },
    });
    const known = world.app;
    world.app = { ...known, publicKey: OTHER_APP.keys.publicKey };
    const waiting = pushJobs(whole, 'architect', 1);
    await expectAllRunOnce(whole, pushOther(simulation, JOBS));
    world.app = known;
    await expectAllRunOnce(whole, waiting);
  });

  async function send(sent: {
    readonly event?: string;
    readonly body: string;
    readonly appId: number;
    readonly secret: string;
  }): Promise<number> {
    const { status } = await fetch(whole.fixture.github.simulation.webhooks.url ?? '', {
      method: 'POST',
      body: sent.body,
      headers: {
        'content-type': 'application/json',
        'x-github-event': sent.event ?? 'workflow_job',
        'x-github-delivery': randomUUID(),
        'x-github-hook-installation-target-id': String(sent.appId),
        'x-hub-signature-256': sign(sent.body, sent.secret),
      },
    });
    return status;
  }

  const first = { appId: APP_ID, secret: WEBHOOK_SECRET };
  const other = { appId: OTHER_APP.appId, secret: OTHER_APP.webhookSecret };

  it("refuses what one App's secret signs for an installation of the other", async () => {
    whole.work.choose = () => undefined;
    const jobs = pushOther(whole.fixture.github.simulation, 1);
    await expect.poll(async () => (await whole.store.listOpenJobs()).length).toBe(1);
    const event = { ...JSON.parse(jobEvent({ id: 99 })), installation: { id: 2 } };
    expect(await send({ ...first, body: JSON.stringify(event) })).toBe(200);
    const deleted = { action: 'deleted', installation: { id: 2 } };
    await send({ ...first, event: 'installation', body: JSON.stringify(deleted) });
    await expect.poll(() => whole.queue.depth()).toBe(0);
    const known = (await whole.store.listOpenJobs()).map(({ id, state }) => [id, state]);
    expect(known).toEqual([[String(jobs[0]?.id), 'queued']]);
    expect(await whole.store.readJob(JobId.parse('99'))).toBeUndefined();
  });

  it('takes the same when the right secret signs it', async () => {
    const event = { ...JSON.parse(jobEvent({ id: 99 })), installation: { id: 2 } };
    await send({ ...other, body: JSON.stringify(event) });
    await expect.poll(() => whole.store.readJob(JobId.parse('99'))).toBeDefined();
  });

  it.each([
    ["with the other's secret", { ...first, secret: other.secret }, 400],
    ['for an App that is not ours', { ...first, appId: 1 }, 400],
    ['with its own', other, 200],
  ])('answers a delivery signed %s with %s', async (_, signed, status) => {
    const event = { action: 'created', installation: { id: 77 } };
    const body = JSON.stringify(event);
    expect(await send({ ...signed, event: 'installation', body })).toBe(status);
  });
});

describe('each', () => {
  let rig: PollRig;

  beforeEach(async () => {
    rig = await startPollRig(WITH_OTHER_APP);
    installOther(rig.fixture);
  });
  afterEach(() => rig.close());

  const lose = (unrecorded: boolean) =>
    rig.fixture.control('PUT', '/faults/deliveries', { drop: { count: 100, unrecorded } });
  const pushBoth = () => {
    const { simulation } = rig.fixture.github;
    rig.fixture.push('on: push\njobs: { one: { runs-on: architect, steps: [{ run: ok }] } }');
    pushOther(simulation, 1);
  };
  const jobOf = (installationId: number, owner: string, name: string) => ({
    origin: {
      ...{ installationId, owner, repo: 'x', runId: 1, headSha: 'a' },
      scope: 'organization' as const,
    },
    ...{ labels: ['architect'], runnerName: name },
  });
  const BOTH = [
    { installationId: 1, owner: 'acme' },
    { installationId: 2, owner: 'other' },
  ] as const;

  it('has a pace and limits of its own', async () => {
    for (const place of BOTH) {
      await rig.client.appOf(place.installationId);
      let minted = 0;
      for (; rig.runners.mayMint(place); minted += 1) {
        const { installationId, owner } = place;
        await rig.runners.mint(jobOf(installationId, owner, `architect-vm-${minted}`));
      }
      expect(minted).toBe(MAX_MINTS_PER_MINUTE);
    }
    expect(rig.fixture.github.simulation.limits.exceeded).toBe(0);
  });

  it('registers nothing before its installation is known, and asks for that', async () => {
    expect(rig.runners.mayMint(BOTH[1])).toBe(false);
    await expect.poll(() => rig.runners.mayMint(BOTH[1])).toBe(true);
    expect(await rig.client.appOf(2)).toBe(OTHER_APP.appId);
    expect(await rig.client.appOf(3)).toBeUndefined();
  });

  it('is left alone while GitHub has said so, and the other is not', async () => {
    for (const { installationId } of BOTH) await rig.client.appOf(installationId);
    const fault = { path: '/orgs/acme/.*jitconfig', status: 403, count: 1 };
    const headers = { 'retry-after': '60' };
    await rig.fixture.control('POST', '/faults/api', { ...fault, headers });
    const refused = rig.runners.mint(jobOf(1, 'acme', 'architect-vm-1'));
    await expect(refused).rejects.toMatchObject({ code: 'GITHUB_RATE_LIMITED' });
    expect(BOTH.map((place) => rig.runners.mayMint(place))).toEqual([false, true]);
  });

  it('is suspended by itself', async () => {
    await lose(true);
    pushBoth();
    await rig.poll.round();
    await rig.fixture.control('PATCH', '/installations/1', { suspended: true });
    await rig.poll.round();
    const open = await rig.store.listOpenJobs();
    expect(open.map(({ origin, state }) => [origin.owner, state])).toEqual([['other', 'queued']]);
  });

  it('loses no job while it cannot be asked, and holds up none of the other', async () => {
    await lose(true);
    pushBoth();
    await rig.poll.round();
    const { world } = rig.fixture.github.simulation;
    world.app = { ...world.app, publicKey: OTHER_APP.keys.publicKey };
    pushOther(rig.fixture.github.simulation, 1);
    await rig.poll.round();
    expect((await rig.store.listOpenJobs()).map(({ origin }) => origin.owner).toSorted()).toEqual([
      'acme',
      'other',
      'other',
    ]);
  });

  it('has its failed deliveries sent again, under its own secret', async () => {
    await lose(false);
    pushBoth();
    rig.passMs(60_000);
    await rig.fixture.control('PUT', '/faults/deliveries', { drop: { count: 0 } });
    await rig.poll.round();
    const { received } = rig.fixture;
    await expect.poll(() => received.length).toBe(2);
    const secrets = new Map([
      [String(APP_ID), WEBHOOK_SECRET],
      [String(OTHER_APP.appId), OTHER_APP.webhookSecret],
    ]);
    const signers = received.map(({ headers, body }) => {
      const appId = String(headers['x-github-hook-installation-target-id']);
      const hash = createHmac('sha256', secrets.get(appId) ?? '')
        .update(body)
        .digest('hex');
      expect(headers['x-hub-signature-256']).toBe(`sha256=${hash}`);
      return appId;
    });
    expect(signers.toSorted()).toEqual([...secrets.keys()]);
  });

  it('sees no installation of the other', async () => {
    const asked = rig.fixture.asApp(KEYS.privateKey).rest.apps;
    expect((await asked.listInstallations()).data.map(({ id }) => id)).toEqual([1]);
    await expect(asked.getInstallation({ installation_id: 2 })).rejects.toMatchObject({
      status: 404,
    });
  });
});
