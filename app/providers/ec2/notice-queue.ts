/**
 * Listens at the SQS queue into which EventBridge puts EC2's warnings. The hosts hear the same from
 * their metadata service; this one is heard also when a host is slow, or its agent is down.
 *
 *   receive (long poll) ──messages──→ tell ──→ delete ──→ receive
 *      └──fails──→ rest, longer each time ──────────────────↑
 *
 * A queue of this control plane's own: what is read is deleted, also what concerns nobody here. A
 * message that could not be deleted comes again, which is harmless.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Message, SQSClient } from '@aws-sdk/client-sqs';
import type { Logger } from 'pino';
import type { NoticeListener } from '../provider.ts';
import { readSpotEvent } from './spot-events.ts';

export type SqsSdk = typeof import('@aws-sdk/client-sqs');

/** SQS holds a question for 20 s at most. */
const WAIT_S = 20;
const BATCH = 10;
const CALL_LIMIT_MS = 30_000;
const FIRST_REST_MS = 1_000;
const LONGEST_REST_MS = 60_000;

export interface NoticeQueue {
  readonly sqs: SqsSdk;
  readonly queueUrl: string;
  readonly region: string;
  /** Instead of AWS's own. */
  readonly endpoint?: string | undefined;
  readonly now: () => number;
  readonly logger: Logger;
}

/** Resolves when the signal ends it; nothing else does. */
export async function watchNoticeQueue(
  queue: NoticeQueue,
  listener: NoticeListener,
  signal: AbortSignal,
): Promise<void> {
  const { sqs, region, endpoint, logger } = queue;
  const client = new sqs.SQSClient({ region, ...(endpoint === undefined ? {} : { endpoint }) });
  let restMs = FIRST_REST_MS;
  const rest = () => sleep(restMs, undefined, { signal }).catch(() => undefined);
  while (!signal.aborted) {
    try {
      if (listener.isListening()) await hearOnce({ ...queue, client }, listener, signal);
      else await rest();
      restMs = FIRST_REST_MS;
    } catch (error) {
      if (signal.aborted) break;
      // The SDK's errors carry the request with its signature.
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      logger.warn({ error: name, why: message, restMs }, 'the queue of notices cannot be read');
      await rest();
      restMs = Math.min(2 * restMs, LONGEST_REST_MS);
    }
  }
  client.destroy();
}

async function hearOnce(
  { sqs, client, queueUrl: QueueUrl, now }: NoticeQueue & { readonly client: SQSClient },
  { isListening, heard }: NoticeListener,
  signal: AbortSignal,
): Promise<void> {
  const limit = () => ({
    abortSignal: AbortSignal.any([signal, AbortSignal.timeout(CALL_LIMIT_MS)]),
  });
  const { Messages: messages = [] } = await client.send(
    new sqs.ReceiveMessageCommand({
      QueueUrl,
      WaitTimeSeconds: WAIT_S,
      MaxNumberOfMessages: BATCH,
    }),
    limit(),
  );
  // They come again, for whoever listens now.
  if (!isListening()) return;
  for (const { Body: body } of messages) {
    const notice = readSpotEvent(body, now());
    if (notice !== undefined) heard(notice);
  }
  const entries = messages.flatMap(asEntry);
  if (entries.length === 0) return;
  await client.send(new sqs.DeleteMessageBatchCommand({ QueueUrl, Entries: entries }), limit());
}

function asEntry({ ReceiptHandle }: Message, index: number) {
  return ReceiptHandle === undefined ? [] : { Id: String(index), ReceiptHandle };
}
