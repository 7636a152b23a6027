/**
 * Conditional requests: what GitHub answered to a GET is kept with its ETag, and asked for again with
 * `If-None-Match`. A 304 costs nothing of the hourly limit and is answered from here, so callers see
 * one answer like any other. Only GitHub decides whether an old answer still holds.
 * Source: docs.github.com, "Best practices for using the REST API", "Use conditional requests".
 */
const MAX_BYTES = 64 * 1024 * 1024;
const MAX_ENTRY_BYTES = 4 * 1024 * 1024;
const NOT_MODIFIED = 304;

interface Kept {
  readonly etag: string;
  readonly body: string;
  readonly headers: Headers;
}

export interface ConditionalRequest {
  /** Whose answer it is: another installation may see other things under the same URL. */
  readonly caller: string;
  readonly url: string;
  readonly init: RequestInit;
}

export class AnswerCache {
  /** In the order of last use. */
  readonly #kept = new Map<string, Kept>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Rejects with whatever `send` rejects with. */
  async fetch(
    { caller, url, init }: ConditionalRequest,
    send: (init: RequestInit) => Promise<Response>,
  ): Promise<Response> {
    if ((init.method ?? 'GET') !== 'GET') return send(init);
    const key = `${caller} ${url}`;
    const kept = this.#kept.get(key);
    const headers = new Headers(init.headers);
    if (kept !== undefined) headers.set('if-none-match', kept.etag);
    const answer = await send({ ...init, headers });
    this.#drop(key);
    if (answer.status === NOT_MODIFIED && kept !== undefined) {
      this.#keep(key, kept);
      return new Response(kept.body, { status: 200, headers: kept.headers });
    }
    const etag = answer.headers.get('etag');
    if (answer.status !== 200 || etag === null) return answer;
    const body = await answer.text();
    this.#keep(key, { etag, body, headers: answer.headers });
    return new Response(body, { status: 200, headers: answer.headers });
  }

  #keep(key: string, kept: Kept): void {
    if (sizeOf(kept) > MAX_ENTRY_BYTES) return;
    this.#drop(key);
    this.#kept.set(key, kept);
    this.#bytes += sizeOf(kept);
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.#bytes -= sizeOf(kept);
  }
}

function sizeOf({ body }: Kept): number {
  return body.length;
}
