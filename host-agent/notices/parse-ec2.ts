/**
 * EC2's answers (docs.aws.amazon.com, EC2 User Guide: "Spot Instance interruption notices", "EC2
 * instance rebalance recommendations", "Use the Instance Metadata Service"). 404 means that there is
 * no notice; 401 that the token has expired.
 */
import { z } from 'zod';
import { type MetadataAnswer, parseJson, type TopicAnswer, unusable } from './topic-answer.ts';

const InstanceAction = z.object({
  action: z.enum(['terminate', 'stop', 'hibernate']),
  time: z.iso.datetime(),
});
const Rebalance = z.object({ noticeTime: z.iso.datetime() });

/** `spot/instance-action`: after `time` nothing runs here, whichever the action is. */
export function parseInstanceAction(answer: MetadataAnswer): TopicAnswer {
  const absent = absence(answer);
  if (absent !== undefined) return absent;
  const { data } = InstanceAction.safeParse(parseJson(answer.body));
  if (answer.status !== 200 || data === undefined) return unusable(answer);
  const { action, time } = data;
  const said = { kind: 'interruption', key: `${action} ${time}`, atMs: Date.parse(time) } as const;
  return { kind: 'said', said };
}

/** `events/recommendations/rebalance`: `noticeTime` is when it was given, so it names no deadline. */
export function parseRebalance(answer: MetadataAnswer): TopicAnswer {
  const absent = absence(answer);
  if (absent !== undefined) return absent;
  const { data } = Rebalance.safeParse(parseJson(answer.body));
  if (answer.status !== 200 || data === undefined) return unusable(answer);
  return { kind: 'said', said: { kind: 'rebalance', key: data.noticeTime, atMs: undefined } };
}

/** Undefined where the service did not hand out a token. */
export function parseToken({ status, body }: MetadataAnswer): string | undefined {
  return status === 200 && /^[\x21-\x7e]{1,512}$/.test(body) ? body : undefined;
}

function absence({ status }: MetadataAnswer): TopicAnswer | undefined {
  if (status === 404) return { kind: 'none' };
  return status === 401 ? { kind: 'token-refused' } : undefined;
}
