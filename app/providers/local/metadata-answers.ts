/**
 * What the simulated metadata service answers: EC2's IMDSv2 as its documentation describes it
 * (docs.aws.amazon.com, "Use the Instance Metadata Service", "Spot Instance interruption notices").
 * Pure: tokens are made and checked by the caller.
 *
 * Not simulated: the hop limit (an answer's TTL of 1), which a guest cannot profit from here since
 * its own guard drops all of 169.254.0.0/16.
 */
import { z } from 'zod';

/** What the control socket sets. `null`: there is none. */
export const Notices = z.object({
  instanceAction: z
    .object({ action: z.enum(['terminate', 'stop', 'hibernate']), time: z.iso.datetime() })
    .nullable(),
  rebalance: z.object({ noticeTime: z.iso.datetime() }).nullable(),
});
export type Notices = Readonly<z.infer<typeof Notices>>;

export const NO_NOTICES: Notices = { instanceAction: null, rebalance: null };

export interface MetadataRequest {
  readonly method: string;
  readonly path: string;
  readonly tokenTtl: string | undefined;
  readonly tokenValid: boolean;
  readonly forwarded: boolean;
}

export interface Instance {
  readonly instanceId: string;
  readonly instanceType: string;
  readonly place: string;
}

export type MetadataAnswer =
  | { readonly kind: 'token'; readonly ttlS: number }
  | { readonly kind: 'answer'; readonly status: number; readonly body: string };

const MAX_TTL_S = 21_600;
const NOT_FOUND = answer(404, 'Not Found');

export function answerMetadata(
  request: MetadataRequest,
  instance: Instance,
  notices: Notices,
): MetadataAnswer {
  if (request.path === '/latest/api/token') return answerToken(request);
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return answer(405, 'Method Not Allowed');
  if (!request.tokenValid) return answer(401, 'Unauthorized');
  const body = read(request.path, instance, notices);
  return body === undefined ? NOT_FOUND : answer(200, body);
}

function answerToken({ method, tokenTtl, forwarded }: MetadataRequest): MetadataAnswer {
  if (method !== 'PUT') return answer(405, 'Method Not Allowed');
  if (forwarded) return answer(403, 'Forbidden');
  const ttlS = /^\d{1,6}$/.test(tokenTtl ?? '') ? Number(tokenTtl) : 0;
  if (ttlS < 1 || ttlS > MAX_TTL_S) return answer(400, 'Bad Request');
  return { kind: 'token', ttlS };
}

function read(path: string, instance: Instance, notices: Notices): string | undefined {
  const item = path.replace(/^\/latest\/meta-data\//, '');
  switch (item) {
    case 'instance-id':
      return instance.instanceId;
    case 'instance-type':
      return instance.instanceType;
    case 'instance-life-cycle':
      return 'spot';
    case 'placement/region':
      return instance.place;
    case 'placement/availability-zone':
      return `${instance.place}a`;
    case 'spot/instance-action':
      return encode(notices.instanceAction);
    case 'events/recommendations/rebalance':
      return encode(notices.rebalance);
    default:
      return undefined;
  }
}

function encode(notice: unknown): string | undefined {
  return notice === null ? undefined : JSON.stringify(notice);
}

function answer(status: number, body: string): MetadataAnswer {
  return { kind: 'answer', status, body };
}
