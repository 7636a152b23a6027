/** Asks for one topic again and again until the signal; pace.ts says how often. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { NoticeSource } from '../protocol/host-notice.ts';
import { answerLimitMs, pauseMs } from './pace.ts';
import {
  type MetadataAnswer,
  type SaidNotice,
  serviceClockMs,
  type TopicAnswer,
} from './topic-answer.ts';

/** While a service fails, one failure in this many is worth a warning. */
const WARN_EVERY = 100;

export interface Heard {
  readonly answer: MetadataAnswer;
  readonly meaning: TopicAnswer;
}

export interface Topic {
  readonly source: NoticeSource;
  readonly name: string;
  readonly everyMs: number;
  /** How long the first answer and each one after a good one may take. */
  readonly limitMs: number;
  ask(limitMs: number, signal: AbortSignal): Promise<Heard>;
}

export interface TopicHearing {
  readonly topic: Topic;
  readonly said: SaidNotice | undefined;
  readonly serviceNowMs: number | undefined;
}

export interface PollParts {
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Called after each answer that says something about notices. */
  readonly onHeard: (hearing: TopicHearing) => void;
}

/** Resolves once the signal has come. Never throws: what fails is asked again. */
export async function pollTopic(topic: Topic, parts: PollParts): Promise<void> {
  const { signal } = parts;
  let failures = 0;
  while (!signal.aborted) {
    const why = await askOnce(topic, { ...parts, failures });
    if (signal.aborted) return;
    note(topic, { ...parts, failures, why });
    failures = why === undefined ? 0 : failures + 1;
    const ms = pauseMs(topic.everyMs, failures, Math.random());
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  }
}

/** Undefined when the answer could be used, else why not. */
async function askOnce(
  topic: Topic,
  { signal, onHeard, failures }: PollParts & { readonly failures: number },
): Promise<unknown> {
  try {
    const { answer, meaning } = await topic.ask(answerLimitMs(topic.limitMs, failures), signal);
    if (meaning.kind === 'unusable') return meaning.why;
    if (meaning.kind === 'token-refused') return 'the credential was refused';
    const said = meaning.kind === 'said' ? meaning.said : undefined;
    onHeard({ topic, said, serviceNowMs: serviceClockMs(answer) });
    return undefined;
  } catch (error) {
    return error;
  }
}

function note(
  { source, name }: Topic,
  { logger, failures, why }: PollParts & { readonly failures: number; readonly why: unknown },
): void {
  if (why === undefined) {
    if (failures > 0) logger.info({ source, topic: name, failures }, 'notices are heard again');
  } else if (failures % WARN_EVERY === 0) {
    logger.warn({ source, topic: name, failures, why }, 'notices cannot be heard; asking again');
  }
}
