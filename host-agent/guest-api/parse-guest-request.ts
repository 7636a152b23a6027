/**
 * From an HTTP request of a guest, which is hostile, to a question or to why it is none. Pure.
 *
 *   GET /v1/vm                       what VM is this?
 *   GET /v1/summary                  the same in Markdown, for the job's summary
 *   PUT /v1/hold  {"held": true}     pinned to its host, or not any more
 *   PUT /v1/class {"class": "large"} of that size from now on; null: of its label's
 */
import { z } from 'zod';
import type { GuestAsk } from '../protocol/guest-api.ts';

export interface GuestRequest {
  readonly method: string;
  /** As it stands in the request line. */
  readonly target: string;
  readonly contentType: string | undefined;
  readonly body: string;
}

export type ParsedRequest =
  | { readonly kind: 'ask'; readonly ask: GuestAsk; readonly as: 'json' | 'summary' }
  | {
      readonly kind: 'wrong';
      readonly status: 400 | 404 | 405 | 415;
      readonly why: string;
      readonly allow?: string;
    };

interface Route {
  readonly method: 'GET' | 'PUT';
  /** Undefined: the body is not what it should be, which is `wants`. */
  readonly ask: (body: unknown) => GuestAsk | undefined;
  readonly wants: string;
  /** How the answer is given; unset: `json`. */
  readonly as?: 'summary';
}

const Hold = z.strictObject({ held: z.boolean() });
const Resize = z.strictObject({ class: z.string().min(1).max(64).nullable() });

const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  ['/v1/vm', { method: 'GET', ask: () => ({ kind: 'look' }), wants: 'no body' }],
  [
    '/v1/summary',
    { method: 'GET', ask: () => ({ kind: 'look' }), wants: 'no body', as: 'summary' },
  ],
  [
    '/v1/hold',
    {
      method: 'PUT',
      ask: (body) => {
        const held = Hold.safeParse(body).data?.held;
        return held === undefined ? undefined : { kind: 'hold', held };
      },
      wants: '{"held": true} or {"held": false}',
    },
  ],
  [
    '/v1/class',
    {
      method: 'PUT',
      ask: (body) => {
        const size = Resize.safeParse(body).data?.class;
        return size === undefined ? undefined : { kind: 'resize', class: size };
      },
      wants: '{"class": "NAME"} or {"class": null}',
    },
  ],
]);

export function parseGuestRequest(request: GuestRequest): ParsedRequest {
  const route = ROUTES.get(request.target);
  if (route === undefined) return wrong(404, `There is ${[...ROUTES.keys()].join(', ')} only.`);
  const { method, wants, as = 'json' } = route;
  if (request.method !== method)
    return { ...wrong(405, `${request.target} takes ${method} only.`), allow: method };
  if (method === 'GET') {
    const ask = request.body === '' ? route.ask(undefined) : undefined;
    return ask === undefined ? wrong(400, `The body is to be ${wants}.`) : { kind: 'ask', ask, as };
  }
  if (!/^application\/json(;|$)/i.test(request.contentType ?? ''))
    return wrong(415, 'The content type is to be application/json.');
  const ask = route.ask(parseJson(request.body));
  return ask === undefined ? wrong(400, `The body is to be ${wants}.`) : { kind: 'ask', ask, as };
}

function wrong<S extends 400 | 404 | 405 | 415>(status: S, why: string) {
  return { kind: 'wrong', status, why } as const;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
