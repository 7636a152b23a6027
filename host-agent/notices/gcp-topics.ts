/**
 * Google's topics. A question with `wait_for_change` is answered when the value is another than the
 * one with `last_etag`, or after `timeout_sec`; so a notice is heard as soon as it is given. The
 * first question, and one after an answer that could not be used, does not wait: a change that
 * happened in between must not be missed.
 */
import type { MetadataClient } from './metadata-client.ts';
import { etagOf, parseMaintenance, parsePreempted } from './parse-gcp.ts';
import type { Topic } from './poll-topic.ts';
import type { MetadataAnswer, TopicAnswer } from './topic-answer.ts';

export const GOOGLE_HEADERS = { 'metadata-flavor': 'Google' } as const;

/** The service holds a question this long; a connection that died unnoticed costs no more. */
const WAIT_S = 10;
const LIMIT_MS = 2_000;
/** Between two questions, should the service not wait as it was asked to. */
const GAP_MS = 100;

export function gcpTopics(client: MetadataClient): readonly Topic[] {
  return [
    gcpTopic(client, 'instance/preempted', parsePreempted),
    gcpTopic(client, 'instance/maintenance-event', parseMaintenance),
  ];
}

function gcpTopic(
  client: MetadataClient,
  name: string,
  parse: (answer: MetadataAnswer) => TopicAnswer,
): Topic {
  let etag: string | undefined;
  return {
    source: 'gcp',
    name,
    everyMs: GAP_MS,
    limitMs: LIMIT_MS,
    ask: async (limitMs, signal) => {
      const last = etag;
      etag = undefined;
      const waitMs = last === undefined ? 0 : WAIT_S * 1_000;
      const answer = await client.ask({
        path: `/computeMetadata/v1/${name}${waiting(last)}`,
        headers: GOOGLE_HEADERS,
        limitMs: limitMs + waitMs,
        signal,
      });
      const meaning = parse(answer);
      if (meaning.kind !== 'unusable') etag = etagOf(answer);
      return { answer, meaning };
    },
  };
}

function waiting(etag: string | undefined): string {
  if (etag === undefined) return '';
  return `?wait_for_change=true&last_etag=${etag}&timeout_sec=${WAIT_S}`;
}
