/**
 * EC2's two topics, over IMDSv2.
 *
 * Asked every 500 ms, each: a spot notice leaves two minutes, and half a second of it is the most that
 * asking should cost. AWS asks for 5 s "or faster" and throttles per instance without giving a
 * figure; the limit that it does give is 1024 packets per second per network interface for all
 * link-local services together. Four small questions per second on connections that are kept open
 * are below 20 packets. A token is fetched once in three hours, or when the service refuses it.
 */
import { TTL_HEADER } from './choose-cloud.ts';
import { type MetadataClient, MetadataUnreachableError } from './metadata-client.ts';
import { parseInstanceAction, parseRebalance, parseToken } from './parse-ec2.ts';
import type { Heard, Topic } from './poll-topic.ts';
import type { MetadataAnswer, TopicAnswer } from './topic-answer.ts';

const EVERY_MS = 500;
const LIMIT_MS = 1_000;
const TOKEN_TTL_S = 21_600;
const TOKEN_RENEWAL_MS = (TOKEN_TTL_S / 2) * 1_000;

export const TOKEN_QUESTION = {
  method: 'PUT',
  path: '/latest/api/token',
  headers: { [TTL_HEADER]: String(TOKEN_TTL_S) },
} as const;

export function ec2Topics(client: MetadataClient): readonly Topic[] {
  const tokens = new Tokens(client);
  const topic = (name: string, parse: (answer: MetadataAnswer) => TopicAnswer): Topic => ({
    source: 'ec2',
    name,
    everyMs: EVERY_MS,
    limitMs: LIMIT_MS,
    ask: (limitMs, signal) => tokens.askWith({ client, name, parse, limitMs, signal }),
  });
  return [
    topic('spot/instance-action', parseInstanceAction),
    topic('events/recommendations/rebalance', parseRebalance),
  ];
}

interface TokenQuestion {
  readonly client: MetadataClient;
  readonly name: string;
  readonly parse: (answer: MetadataAnswer) => TopicAnswer;
  readonly limitMs: number;
  readonly signal: AbortSignal;
}

class Tokens {
  readonly #client: MetadataClient;
  #token: { readonly text: string; readonly renewAtMs: number } | undefined;

  constructor(client: MetadataClient) {
    this.#client = client;
  }

  /** A token that is refused is replaced and the question asked once more. */
  async askWith(question: TokenQuestion): Promise<Heard> {
    const heard = await this.#askOnce(question);
    if (heard.meaning.kind !== 'token-refused') return heard;
    this.#token = undefined;
    return await this.#askOnce(question);
  }

  async #askOnce({ client, name, parse, limitMs, signal }: TokenQuestion): Promise<Heard> {
    const token = await this.#current(limitMs, signal);
    const answer = await client.ask({
      path: `/latest/meta-data/${name}`,
      headers: { 'x-aws-ec2-metadata-token': token },
      limitMs,
      signal,
    });
    return { answer, meaning: parse(answer) };
  }

  async #current(limitMs: number, signal: AbortSignal): Promise<string> {
    if (this.#token !== undefined && performance.now() < this.#token.renewAtMs) {
      return this.#token.text;
    }
    const answer = await this.#client.ask({ ...TOKEN_QUESTION, limitMs, signal });
    const text = parseToken(answer);
    if (text === undefined) {
      throw new MetadataUnreachableError(
        `The metadata service gave no token; its answer was ${answer.status}.`,
      );
    }
    this.#token = { text, renewAtMs: performance.now() + TOKEN_RENEWAL_MS };
    return text;
  }
}
