/** A route of the API: everything that the server and the OpenAPI document need to know of it. */
import type { z } from 'zod';
import type { ApiPorts } from './ports.ts';

export type RouteAnswer<Answer> =
  | { readonly kind: 'ok'; readonly body: Answer }
  | { readonly kind: 'absent'; readonly what: string }
  /** Understood, and impossible as things are. */
  | { readonly kind: 'conflict'; readonly why: string };

interface RouteHead {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below API_PREFIX, with `{name}` for parameters, as OpenAPI writes them. */
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly status: 200 | 201 | 202;
}

interface RouteShape<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodObject,
  Answer extends z.ZodType,
> extends RouteHead {
  readonly params: Params;
  readonly query: Query;
  /** Of a POST; other methods have none. */
  readonly body: Body;
  readonly answer: Answer;
  readonly handle: (
    input: {
      readonly params: z.output<Params>;
      readonly query: z.output<Query>;
      readonly body: z.output<Body>;
    },
    ports: ApiPorts,
  ) => Promise<RouteAnswer<z.input<Answer>>> | RouteAnswer<z.input<Answer>>;
}

/** What was received, not yet checked. */
export interface RawInput {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

export type Outcome =
  | { readonly kind: 'ok'; readonly status: number; readonly body: unknown }
  | { readonly kind: 'absent'; readonly what: string }
  | { readonly kind: 'conflict'; readonly why: string }
  | { readonly kind: 'malformed'; readonly why: string };

export interface Route extends RouteHead {
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body: z.ZodObject;
  readonly answer: z.ZodType;
  run(input: RawInput, ports: ApiPorts): Promise<Outcome>;
}

/** Closes over a route's types: input is checked before its handler sees it. */
export function route<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodObject,
  Answer extends z.ZodType,
>(shape: RouteShape<Params, Query, Body, Answer>): Route {
  const { method, path, operationId, summary, status, params, query, body, answer } = shape;
  const head = { method, path, operationId, summary, status };
  return { ...head, params, query, body, answer, run: (input, ports) => run(shape, input, ports) };
}

async function run<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodObject,
  Answer extends z.ZodType,
>(
  shape: RouteShape<Params, Query, Body, Answer>,
  input: RawInput,
  ports: ApiPorts,
): Promise<Outcome> {
  const params = shape.params.safeParse(input.params ?? {});
  if (!params.success) return malformed('path', params.error);
  const query = shape.query.safeParse(input.query ?? {});
  if (!query.success) return malformed('query', query.error);
  const body = shape.body.safeParse(input.body ?? {});
  if (!body.success) return malformed('body', body.error);
  const checked = { params: params.data, query: query.data, body: body.data };
  const answer = await shape.handle(checked, ports);
  if (answer.kind !== 'ok') return answer;
  return { kind: 'ok', status: shape.status, body: answer.body };
}

function malformed(part: string, error: z.ZodError): Outcome {
  const lines = error.issues.map((issue) => `${[part, ...issue.path].join('.')}: ${issue.message}`);
  return { kind: 'malformed', why: lines.join('; ') };
}
