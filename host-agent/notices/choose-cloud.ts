/**
 * Which cloud's metadata service answers here. All three use the same link-local address, so each is
 * asked in its own manner and known by what only it says: EC2 hands out a token with the time to
 * live that was asked for, Google names its flavor, Azure gives its environment as JSON.
 */
import { z } from 'zod';
import type { NoticeSource } from '../protocol/host-notice.ts';
import { parseToken } from './parse-ec2.ts';
import { isGoogle } from './parse-gcp.ts';
import { type MetadataAnswer, parseJson } from './topic-answer.ts';

/** Undefined: no answer. */
export type ProbeAnswers = Readonly<Record<NoticeSource, MetadataAnswer | undefined>>;

export type CloudChoice =
  | { readonly kind: 'cloud'; readonly source: NoticeSource }
  | { readonly kind: 'none' }
  /** More than one fits: to watch the wrong one would be to miss every notice. */
  | { readonly kind: 'ambiguous'; readonly sources: readonly NoticeSource[] };

export const TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';

const AzureInstance = z.object({ compute: z.object({ azEnvironment: z.string().min(1) }) });

const MARKS = {
  ec2: (answer) => parseToken(answer) !== undefined && answer.headers[TTL_HEADER] !== undefined,
  gcp: (answer) => answer.status === 200 && isGoogle(answer),
  azure: ({ status, body }) => status === 200 && AzureInstance.safeParse(parseJson(body)).success,
} as const satisfies Record<NoticeSource, (answer: MetadataAnswer) => boolean>;

const SOURCES = ['ec2', 'gcp', 'azure'] as const satisfies readonly NoticeSource[];

export function chooseCloud(answers: ProbeAnswers): CloudChoice {
  const sources = SOURCES.filter((source) => {
    const answer = answers[source];
    return answer !== undefined && MARKS[source](answer);
  });
  const [source, ...others] = sources;
  if (source === undefined) return { kind: 'none' };
  return others.length === 0 ? { kind: 'cloud', source } : { kind: 'ambiguous', sources };
}
