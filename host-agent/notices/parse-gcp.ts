/**
 * Google's answers (cloud.google.com/compute/docs: "Spot VMs", "Query metadata server for maintenance
 * event notices", "View and query VM metadata"). A preempted VM has 30 s from the moment at which
 * `preempted` turns TRUE. Answers carry `metadata-flavor: Google`; one without it came from
 * something else that listens on the address.
 */
import { type MetadataAnswer, type TopicAnswer, unusable } from './topic-answer.ts';

export function isGoogle({ headers }: MetadataAnswer): boolean {
  return headers['metadata-flavor'] === 'Google';
}

/** `instance/preempted` */
export function parsePreempted(answer: MetadataAnswer): TopicAnswer {
  const text = readText(answer);
  if (text === 'FALSE') return { kind: 'none' };
  if (text !== 'TRUE') return unusable(answer);
  return { kind: 'said', said: { kind: 'interruption', key: 'preempted', atMs: undefined } };
}

/**
 * `instance/maintenance-event`. A host that will be terminated for maintenance has a minute or, with a
 * GPU, an hour; which of them is not said, so it counts as a hint. A host that Google moves by itself
 * (MIGRATE_ON_HOST_MAINTENANCE) stays.
 */
export function parseMaintenance(answer: MetadataAnswer): TopicAnswer {
  const text = readText(answer);
  if (text === 'NONE' || text === 'MIGRATE_ON_HOST_MAINTENANCE') return { kind: 'none' };
  if (text !== 'TERMINATE_ON_HOST_MAINTENANCE') return unusable(answer);
  return { kind: 'said', said: { kind: 'rebalance', key: text, atMs: undefined } };
}

/** What to give as `last_etag`, so that the next question waits for a change after this answer. */
export function etagOf({ headers }: MetadataAnswer): string | undefined {
  return /^[\w-]{1,64}$/.test(headers.etag ?? '') ? headers.etag : undefined;
}

function readText(answer: MetadataAnswer): string | undefined {
  return answer.status === 200 && isGoogle(answer) ? answer.body.trim() : undefined;
}
