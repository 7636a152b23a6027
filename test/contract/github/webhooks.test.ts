/** Deliveries: what GitHub publishes about them holds, and each fault does what it says. */
import { Webhooks } from '@octokit/webhooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { GitHubFixture, type Received, until, WEBHOOK_SECRET } from './fixture.ts';
import { checkAnswer, checkEvent } from './openapi.ts';

const WORKFLOW =
  'on: push\njobs: {a: {runs-on: architect, steps: [{run: "true"}, {run: "false"}]}}';
const HOOK = '/app/hook/deliveries';
const Event = z.looseObject({ action: z.string(), workflow_job: z.looseObject({ id: z.int() }) });

let fixture: GitHubFixture;

beforeEach(async () => {
  fixture = await GitHubFixture.start();
});
afterEach(async () => {
  await fixture.close();
});

function actions(): string[] {
  return fixture.received.map(({ body }) => Event.parse(JSON.parse(body)).action);
}

function received(count: number): Promise<Received[]> {
  return until(`${count} deliveries`, () => fixture.received.length >= count && fixture.received);
}

function recorded(count: number) {
  const { webhooks } = fixture.github.simulation;
  return until(`${count} records`, () => webhooks.list().length >= count && webhooks.list());
}

function isSigned({ headers, body }: Received): Promise<boolean> {
  const signature = String(headers['x-hub-signature-256']);
  return new Webhooks({ secret: WEBHOOK_SECRET }).verify(body, signature);
}

describe('a delivery', () => {
  it('of each kind has the published shape and the right signature', async () => {
    fixture.push(WORKFLOW);
    await fixture.startRunner(await fixture.mint('one'));
    await received(3);
    expect(actions().toSorted()).toEqual(['completed', 'in_progress', 'queued']);
    for (const delivery of fixture.received) {
      const event = Event.parse(JSON.parse(delivery.body));
      checkEvent(`workflow_job$${event.action}`, event);
      expect(await isSigned(delivery)).toBe(true);
      expect(delivery.headers).toMatchObject({ 'x-github-event': 'workflow_job' });
    }
  });

  it('is recorded, and delivered again under the same GUID', async () => {
    fixture.push(WORKFLOW);
    await recorded(1);
    const octokit = fixture.asApp();
    const list = await octokit.rest.apps.listWebhookDeliveries();
    checkAnswer({ method: 'GET', path: HOOK, status: 200 }, list.data);
    const delivery_id = list.data[0]?.id ?? 0;
    const one = await octokit.rest.apps.getWebhookDelivery({ delivery_id });
    checkAnswer({ method: 'GET', path: `${HOOK}/{delivery_id}`, status: 200 }, one.data);
    const again = await octokit.rest.apps.redeliverWebhookDelivery({ delivery_id });
    expect(again.status).toBe(202);
    const [first, second] = await received(2);
    expect(second?.headers['x-github-delivery']).toBe(first?.headers['x-github-delivery']);
    expect(second?.body).toBe(first?.body);
    const [newest] = await recorded(2);
    expect(newest).toMatchObject({ redelivery: true, statusCode: 200 });
  });
});

describe('a fault in deliveries', () => {
  it('loses one, which stays listed as failed and can be had again', async () => {
    await fixture.control('PUT', '/faults/deliveries', { drop: { count: 1 } });
    fixture.push(WORKFLOW);
    fixture.push(WORKFLOW);
    await received(1);
    const failed = await fixture.asApp().rest.apps.listWebhookDeliveries({ status: 'failure' });
    expect(failed.data).toMatchObject([{ status_code: 502, action: 'queued' }]);
    const delivery_id = failed.data[0]?.id ?? 0;
    await fixture.asApp().rest.apps.redeliverWebhookDelivery({ delivery_id });
    await received(2);
  });

  it('loses one without a trace', async () => {
    await fixture.control('PUT', '/faults/deliveries', { drop: { count: 1, unrecorded: true } });
    fixture.push(WORKFLOW);
    fixture.push(WORKFLOW);
    await received(1);
    expect(await recorded(1)).toHaveLength(1);
  });

  it('sends one several times', async () => {
    await fixture.control('PUT', '/faults/deliveries', { duplicate: { count: 1, copies: 2 } });
    fixture.push(WORKFLOW);
    const all = await received(3);
    expect(new Set(all.map(({ headers }) => headers['x-github-delivery'])).size).toBe(1);
  });

  it('sends several in another order', async () => {
    await fixture.control('PUT', '/faults/deliveries', { shuffle: { count: 20 } });
    const ids = Array.from({ length: 20 }, () => fixture.push(WORKFLOW).jobs[0]?.id);
    await received(20);
    const order = fixture.received.map(({ body }) => Event.parse(JSON.parse(body)).workflow_job.id);
    expect(order).not.toEqual(ids);
    expect(order.toSorted()).toEqual(ids);
  });

  it('signs one wrongly', async () => {
    await fixture.control('PUT', '/faults/deliveries', { wrongSignature: { count: 1 } });
    fixture.push(WORKFLOW);
    const [first] = await received(1);
    expect(first && (await isSigned(first))).toBe(false);
  });

  it('sends one late', async () => {
    await fixture.control('PUT', '/faults/deliveries', { delay: { count: 1, ms: 300 } });
    const late = fixture.push(WORKFLOW).jobs[0]?.id;
    fixture.push(WORKFLOW);
    await received(2);
    const last = fixture.received.at(-1)?.body ?? '{}';
    expect(Event.parse(JSON.parse(last)).workflow_job.id).toBe(late);
  });
});
