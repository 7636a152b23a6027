/** EC2's warnings through a queue of moto's, whose SQS others wrote. */
import * as sqs from '@aws-sdk/client-sqs';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { watchNoticeQueue } from '../../../app/providers/ec2/notice-queue.ts';
import type { MachineNotice } from '../../../app/providers/provider.ts';
import { type Moto, startMoto } from '../../fakes/object-store/moto.ts';

const REGION = 'us-east-1';
const ID = 'i-0123456789abcdef0';
const SEEN = { timeout: 30_000 };

let moto: Moto;
let client: sqs.SQSClient;
let closing: AbortController;
let heard: MachineNotice[];
let watching: Promise<void>;
let listening: boolean;

beforeAll(async () => {
  process.env.AWS_ACCESS_KEY_ID = 'AKIDTEST';
  process.env.AWS_SECRET_ACCESS_KEY = 'very-secret-key';
  moto = await startMoto();
  client = new sqs.SQSClient({ region: REGION, endpoint: moto.url });
});
afterAll(async () => {
  client?.destroy();
  await moto?.stop();
});
beforeEach(() => {
  closing = new AbortController();
  heard = [];
  listening = true;
  watching = Promise.resolve();
});
afterEach(async () => {
  closing.abort();
  await watching;
});

async function createQueue(name: string): Promise<string> {
  // What is taken and not deleted comes again after a second.
  const Attributes = { VisibilityTimeout: '1' };
  const made = await client.send(new sqs.CreateQueueCommand({ QueueName: name, Attributes }));
  return made.QueueUrl ?? '';
}

function watch(queueUrl: string): void {
  const options = { sqs, queueUrl, region: REGION, endpoint: moto.url, now: Date.now };
  const listener = {
    isListening: () => listening,
    heard: (notice: MachineNotice) => void heard.push(notice),
  };
  const logger = pino({ level: 'silent' });
  watching = watchNoticeQueue({ ...options, logger }, listener, closing.signal);
}

async function send(queueUrl: string, body: object): Promise<void> {
  const MessageBody = JSON.stringify(body);
  await client.send(new sqs.SendMessageCommand({ QueueUrl: queueUrl, MessageBody }));
}

async function left(queueUrl: string): Promise<number> {
  const { Attributes: counts } = await client.send(
    new sqs.GetQueueAttributesCommand({
      QueueUrl: queueUrl,
      AttributeNames: ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'],
    }),
  );
  return Object.values(counts ?? {}).reduce((sum, count) => sum + Number(count), 0);
}

const warning = {
  source: 'aws.ec2',
  'detail-type': 'EC2 Spot Instance Interruption Warning',
  time: '2026-03-01T12:00:00Z',
  detail: { 'instance-id': ID, 'instance-action': 'terminate' },
};

it('hears a warning, deletes what it has read, and passes over what it does not know', async () => {
  const url = await createQueue('heard');
  await send(url, { hello: 'world' });
  await send(url, warning);
  watch(url);
  await expect.poll(() => heard.map(({ machineId }) => machineId), SEEN).toEqual([ID]);
  await expect.poll(() => left(url), SEEN).toBe(0);
  await send(url, { ...warning, detail: { 'instance-id': `${ID}1`.slice(0, 19) } });
  await send(url, warning);
  await expect.poll(() => heard.length, SEEN).toBeGreaterThan(1);
});

it('tries again where there is no queue yet', async () => {
  const url = `${moto.url}/123456789012/later`;
  watch(url);
  await createQueue('later');
  await send(url, warning);
  await expect.poll(() => heard.length, SEEN).toBe(1);
});

it('leaves everything to the process that listens', async () => {
  const url = await createQueue('shared');
  listening = false;
  await send(url, warning);
  watch(url);
  expect(await left(url)).toBe(1);
  expect(heard).toEqual([]);
  listening = true;
  await expect.poll(() => heard.length, SEEN).toBe(1);
});
