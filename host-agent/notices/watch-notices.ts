/**
 * Watches the cloud's metadata service for word that this host goes away.
 *
 *   which cloud (configured, or probed) → its topics, each asked for by itself → board → onNotice
 *
 * Invariants:
 * - `onNotice` is called when the host's notice changes and at no other time: first seen, replaced by
 *   a graver one, or withdrawn (null).
 * - A service that is slow, silent, broken or talks nonsense withdraws nothing and ends nothing.
 * - After the signal nothing is called and every connection is closed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { HostNotice, NoticeSource } from '../protocol/host-notice.ts';
import { azureTopics } from './azure-topics.ts';
import { chooseCloud } from './choose-cloud.ts';
import { ec2Topics } from './ec2-topics.ts';
import { gcpTopics } from './gcp-topics.ts';
import { MetadataClient } from './metadata-client.ts';
import { currentNotice, EMPTY_BOARD, post } from './notice-board.ts';
import { pauseMs } from './pace.ts';
import { pollTopic, type Topic, type TopicHearing } from './poll-topic.ts';
import { probeClouds } from './probe-clouds.ts';

/** With back-off some 20 s: a metadata service is there before the machine's own programs are. */
const PROBES = 12;
const PROBE_EVERY_MS = 250;

export type NoticeMode = 'auto' | 'off' | NoticeSource;

export interface NoticeWatch {
  readonly mode: NoticeMode;
  readonly metadataUrl: string;
  readonly nowMs: () => number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onNotice: (notice: HostNotice | null) => void;
}

const TOPICS = {
  ec2: ec2Topics,
  gcp: gcpTopics,
  azure: azureTopics,
} as const satisfies Record<NoticeSource, (client: MetadataClient) => readonly Topic[]>;

/** Resolves once the signal has come, or when there is no cloud to watch. Never throws. */
export async function watchNotices(watch: NoticeWatch): Promise<void> {
  if (watch.mode === 'off') return;
  const client = new MetadataClient(watch.metadataUrl);
  try {
    const source = watch.mode === 'auto' ? await findCloud(client, watch) : watch.mode;
    if (source !== undefined) await listen(client, source, watch);
  } finally {
    await client.close();
  }
}

async function listen(
  client: MetadataClient,
  source: NoticeSource,
  { signal, logger, nowMs, onNotice }: NoticeWatch,
): Promise<void> {
  let board = EMPTY_BOARD;
  const onHeard = ({ topic, said, serviceNowMs }: TopicHearing) => {
    if (signal.aborted) return;
    const before = currentNotice(board);
    const clocks = { hostNowMs: nowMs(), serviceNowMs };
    board = post(board, { source, topic: topic.name, said, clocks });
    const notice = currentNotice(board);
    if (notice === before) return;
    logger.warn({ notice }, notice === null ? 'the notice was withdrawn' : 'the cloud gave notice');
    onNotice(notice);
  };
  logger.info({ source }, 'watching for notices');
  const topics = TOPICS[source](client);
  await Promise.all(topics.map((topic) => pollTopic(topic, { signal, logger, onHeard })));
}

async function findCloud(
  client: MetadataClient,
  { signal, logger }: NoticeWatch,
): Promise<NoticeSource | undefined> {
  for (let failures = 1; failures <= PROBES && !signal.aborted; failures += 1) {
    const choice = chooseCloud(await probeClouds(client, signal));
    if (choice.kind === 'cloud') return choice.source;
    if (choice.kind === 'ambiguous') {
      const { sources } = choice;
      logger.error(
        { sources },
        'cannot tell the cloud; set ARCHITECT_NOTICES to watch for notices',
      );
      return undefined;
    }
    const ms = pauseMs(PROBE_EVERY_MS, failures, Math.random());
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  }
  if (!signal.aborted) logger.info('no metadata service is here: no notice will be seen');
  return undefined;
}
