import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { z } from 'zod';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
  readonly authorization: string | undefined;
}

export interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Takes the request and never answers it. */
  readonly hang?: boolean;
}

/** `METHOD /path` to what it answers, one after the other; the last one stays. */
export type Answers = Record<string, Answer[]>;

export interface FakeApi {
  readonly url: string;
  readonly seen: SeenRequest[];
  readonly answers: Answers;
  close(): Promise<void>;
}

/** A GitHub of fixed answers, for what the stateful simulation has no reason to do. */
export async function startFakeApi(
  permissions: Readonly<Record<string, string>> = {},
): Promise<FakeApi> {
  const seen: SeenRequest[] = [];
  const token = { token: `ghs_${'t'.repeat(36)}`, expires_at: '2099-01-01T00:00:00Z', permissions };
  const answers: Answers = {
    'POST /app/installations/5/access_tokens': [{ status: 201, body: token }],
  };
  const server = createServer(async (request, response) => {
    const method = request.method ?? '';
    const path = (request.url ?? '').split('?')[0] ?? '';
    const body = await readJson(request);
    seen.push({
      method,
      path: request.url ?? '',
      body,
      authorization: request.headers.authorization,
    });
    const queue = answers[`${method} ${path}`] ?? [{ status: 404, body: { message: 'Not Found' } }];
    const answer = queue.length > 1 ? queue.shift() : queue[0];
    if (answer === undefined || answer.hang) return;
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
    response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = z.object({ port: z.int() }).parse(server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    answers,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? undefined : JSON.parse(text);
}
