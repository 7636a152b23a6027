/**
 * One HTTP client for a metadata service: few connections, kept alive; every question has a time
 * limit, every answer a size limit. Redirects are not followed, no proxy is used: what a metadata
 * service says must come from the link-local address itself.
 */
import { Pool } from 'undici';
import { ArchitectError } from '../protocol/errors.ts';
import type { MetadataAnswer } from './topic-answer.ts';

/** Two topics at most are asked for at the same time, and a token. */
const MAX_CONNECTIONS = 3;
const MAX_BODY_BYTES = 256 * 1024;
const CONNECT_LIMIT_MS = 2_000;

export class MetadataUnreachableError extends ArchitectError {
  readonly code = 'METADATA_UNREACHABLE';
  readonly retry = 'later';
}

export interface MetadataQuestion {
  readonly method?: 'GET' | 'PUT';
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly limitMs: number;
  readonly signal: AbortSignal;
}

export class MetadataClient {
  readonly #pool: Pool;

  /** `baseUrl` is an origin, such as `http://169.254.169.254`. */
  constructor(baseUrl: string) {
    this.#pool = new Pool(new URL(baseUrl).origin, {
      connections: MAX_CONNECTIONS,
      connect: { timeout: CONNECT_LIMIT_MS },
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** Throws MetadataUnreachableError without a whole answer in time, and when `signal` ends it. */
  async ask(question: MetadataQuestion): Promise<MetadataAnswer> {
    const limit = new AbortController();
    const end = () => limit.abort();
    const timer = setTimeout(end, question.limitMs);
    question.signal.addEventListener('abort', end, { once: true });
    try {
      question.signal.throwIfAborted();
      return await this.#exchange(question, limit.signal);
    } catch (cause) {
      const { path, limitMs } = question;
      throw new MetadataUnreachableError(
        `The metadata service did not answer ${path} in ${limitMs} ms.`,
        { cause, context: { path, limitMs } },
      );
    } finally {
      clearTimeout(timer);
      question.signal.removeEventListener('abort', end);
    }
  }

  /** Ends every question under way. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  async #exchange(question: MetadataQuestion, signal: AbortSignal): Promise<MetadataAnswer> {
    const { method = 'GET', path, headers } = question;
    const {
      statusCode,
      headers: got,
      body,
    } = await this.#pool.request({
      method,
      path,
      headers,
      signal,
    });
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of body) {
      const part = Buffer.from(piece);
      bytes += part.length;
      if (bytes > MAX_BODY_BYTES) throw new Error(`more than ${MAX_BODY_BYTES} bytes`);
      pieces.push(part);
    }
    return {
      status: statusCode,
      headers: flatten(got),
      body: Buffer.concat(pieces).toString('utf8'),
    };
  }
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), String(value)]],
    ),
  );
}
