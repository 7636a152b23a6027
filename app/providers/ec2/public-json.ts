/** One HTTPS request to what is not EC2's API: bounded in time and in size, its answer JSON. */
import { Agent, request } from 'undici';

const LIMIT_MS = 30_000;
/** A page of the price list has about one MiB, the Spot Instance Advisor's file some. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

export interface JsonCall {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface JsonAnswer {
  readonly status: number;
  /** Undefined: it is not JSON. */
  readonly body: unknown;
}

/** Throws what undici throws when there is no answer, or too long a one. */
export async function askJson(call: JsonCall): Promise<JsonAnswer> {
  const dispatcher = new Agent({ maxResponseSize: MAX_ANSWER_BYTES });
  try {
    const { statusCode, body } = await request(call.url, {
      dispatcher,
      method: call.method,
      ...(call.headers === undefined ? {} : { headers: { ...call.headers } }),
      ...(call.body === undefined ? {} : { body: call.body }),
      signal: AbortSignal.any([call.signal, AbortSignal.timeout(LIMIT_MS)]),
    });
    return { status: statusCode, body: parse(await body.text()) };
  } finally {
    await dispatcher.destroy();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
