/**
 * Google's metadata server, as its documentation describes it ("View and query VM metadata"): 403
 * without `Metadata-Flavor: Google` or with a forwarding header; `wait_for_change` holds a question
 * until the value's etag is another than `last_etag` or `timeout_sec` is over. An etag is made from
 * the value, so a value that went and came back is not a change.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { portOf } from './listening.ts';

const LONGEST_WAIT_S = 3_600;
const PREFIX = '/computeMetadata/v1/';

export interface GcpMetadata extends AsyncDisposable {
  readonly url: string;
  set(key: 'instance/preempted' | 'instance/maintenance-event', value: string): void;
  /** Questions that wait for a change just now. */
  readonly held: number;
  /** Questions that waited in vain, to the end of their time. */
  readonly expired: number;
}

interface Held {
  readonly key: string;
  readonly etag: string;
  answer(): void;
}

export async function startGcpMetadata(): Promise<GcpMetadata> {
  const values = new Map([
    ['', 'instance/\nproject/\n'],
    ['instance/preempted', 'FALSE'],
    ['instance/maintenance-event', 'NONE'],
  ]);
  const held = new Set<Held>();
  let expired = 0;
  const onExpired = () => {
    expired += 1;
  };
  const server = createServer((request, response) => {
    request.resume();
    serve({ request, response, values, held, onExpired });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    set: (key, value) => {
      values.set(key, value);
      for (const one of held) if (one.key === key && one.etag !== etagOf(value)) one.answer();
    },
    get held() {
      return held.size;
    },
    get expired() {
      return expired;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Question {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly values: ReadonlyMap<string, string>;
  readonly held: Set<Held>;
  readonly onExpired: () => void;
}

function serve({ request, response, values, held, onExpired }: Question): void {
  const forwarded = request.headers['x-forwarded-for'] !== undefined;
  if (request.headers['metadata-flavor'] !== 'Google' || forwarded) {
    response.writeHead(403, { 'content-type': 'text/html' }).end('<html>Forbidden</html>');
    return;
  }
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://metadata');
  const key = pathname.slice(PREFIX.length);
  const value = pathname.startsWith(PREFIX) ? values.get(key) : undefined;
  if (value === undefined) {
    response.writeHead(404, { 'metadata-flavor': 'Google' }).end('<html>Not Found</html>');
    return;
  }
  const etag = searchParams.get('last_etag') ?? etagOf(value);
  const waits = searchParams.get('wait_for_change') === 'true' && etag === etagOf(value);
  const answer = () => answerWith(response, values.get(key) ?? '');
  if (!waits) {
    answer();
    return;
  }
  const seconds = Math.min(
    Number(searchParams.get('timeout_sec') ?? LONGEST_WAIT_S),
    LONGEST_WAIT_S,
  );
  hold({ held, key, etag, answer, response, limitMs: seconds * 1_000, onExpired });
}

function hold(parts: {
  readonly held: Set<Held>;
  readonly key: string;
  readonly etag: string;
  readonly answer: () => void;
  readonly response: ServerResponse;
  readonly limitMs: number;
  readonly onExpired: () => void;
}): void {
  const { held, key, etag, answer, response, limitMs, onExpired } = parts;
  const end = () => {
    clearTimeout(timer);
    held.delete(one);
  };
  const one: Held = {
    key,
    etag,
    answer: () => {
      end();
      answer();
    },
  };
  const timer = setTimeout(() => {
    onExpired();
    one.answer();
  }, limitMs);
  held.add(one);
  response.on('close', end);
}

function answerWith(response: ServerResponse, value: string): void {
  response
    .writeHead(200, {
      'metadata-flavor': 'Google',
      'content-type': 'application/text',
      etag: etagOf(value),
    })
    .end(value);
}

function etagOf(value: string): string {
  return createHash('sha256').update(value).digest('hex').slice(0, 16);
}
