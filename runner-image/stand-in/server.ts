/**
 * The calls to the server. node:http alone: it loads in a fraction of what fetch needs, which
 * counts in a guest under software emulation.
 */
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { REQUEST_TIMEOUT_MS, retryRequest, ServerRefusal } from './retry.ts';
import type {
  Conclusion,
  JobDetails,
  Message,
  RunnerSettings,
  Session,
  StepReport,
} from './wire.ts';

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const TOO_MANY_REQUESTS = 429;
const NO_MESSAGE = 202;

interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

export class RunnerServer {
  readonly #settings: RunnerSettings;

  constructor(settings: RunnerSettings) {
    this.#settings = settings;
  }

  async openSession(sessionName: string, signal: AbortSignal): Promise<Session> {
    const body = { agentId: this.#settings.agentId, sessionName };
    return parse(await this.#call({ method: 'POST', path: '/_runner/sessions', body, signal }));
  }

  /** Undefined when there was nothing within the server's long poll. */
  async nextMessage(
    session: Session,
    lastMessageId: number,
    signal: AbortSignal,
  ): Promise<Message | undefined> {
    const path = `/_runner/sessions/${session.sessionId}/message?lastMessageId=${lastMessageId}`;
    const answer = await retryRequest(() => this.#call({ method: 'GET', path, signal }), signal);
    return answer.status === NO_MESSAGE ? undefined : parse(answer);
  }

  async closeSession(session: Session, timeoutMs: number): Promise<void> {
    const path = `/_runner/sessions/${session.sessionId}`;
    await this.#call({ method: 'DELETE', path, timeoutMs });
  }

  async acquireJob(jobId: number): Promise<JobDetails> {
    return parse(await this.#retried('POST', `/_runner/jobs/${jobId}/acquire`, {}));
  }

  async renewJob(jobId: number, signal: AbortSignal): Promise<{ readonly lockedForMs: number }> {
    const call = {
      method: 'POST',
      path: `/_runner/jobs/${jobId}/renew`,
      body: {},
      signal,
    } as const;
    return parse(await retryRequest(() => this.#call(call), signal));
  }

  async reportStep(jobId: number, number: number, report: StepReport): Promise<void> {
    await this.#retried('PUT', `/_runner/jobs/${jobId}/steps/${number}`, report);
  }

  /** Markdown, for the job's page. */
  async putSummary(jobId: number, number: number, summary: string): Promise<void> {
    await this.#retried('PUT', `/_runner/jobs/${jobId}/steps/${number}/summary`, { summary });
  }

  async completeJob(jobId: number, conclusion: Conclusion): Promise<void> {
    await this.#retried('POST', `/_runner/jobs/${jobId}/complete`, { conclusion });
  }

  async logLength(jobId: number): Promise<number> {
    const answer = await this.#retried('GET', `/_runner/jobs/${jobId}/log`);
    const { receivedBytes }: { readonly receivedBytes: number } = JSON.parse(answer.text);
    return receivedBytes;
  }

  /** An open upload that starts at `offset`; the caller writes and ends it. */
  openLog(jobId: number, offset: number): ClientRequest {
    const url = new URL(`/_runner/jobs/${jobId}/log?offset=${offset}`, this.#settings.serverUrl);
    const headers = { ...this.#headers(), 'content-type': 'application/octet-stream' };
    const upload = request(url, { method: 'POST', headers });
    upload.setNoDelay(true);
    upload.flushHeaders();
    return upload;
  }

  #retried(method: Call['method'], path: string, body?: unknown): Promise<Answer> {
    return retryRequest(() => this.#call({ method, path, body }));
  }

  #headers(): Record<string, string> {
    return { authorization: `Bearer ${this.#settings.token}` };
  }

  async #call(call: Call): Promise<Answer> {
    const answer = await this.#exchange(call);
    if (answer.status < 300) return answer;
    const message = `${call.method} ${call.path}: ${answer.status} ${answer.text.slice(0, 500)}`;
    if (answer.status >= 500 || answer.status === TOO_MANY_REQUESTS) throw new Error(message);
    throw new ServerRefusal(answer.status, message);
  }

  #exchange({ method, path, body, signal, timeoutMs = REQUEST_TIMEOUT_MS }: Call): Promise<Answer> {
    const limit = AbortSignal.timeout(timeoutMs);
    const stop = signal === undefined ? limit : AbortSignal.any([limit, signal]);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers =
      text === undefined
        ? this.#headers()
        : { ...this.#headers(), 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      const url = new URL(path, this.#settings.serverUrl);
      const outgoing = request(url, { method, headers, signal: stop });
      outgoing.once('error', reject);
      outgoing.once('response', (response) => readAnswer(response).then(resolve, reject));
      outgoing.end(text);
    });
  }
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) {
    text += String(chunk);
    if (text.length > MAX_ANSWER_BYTES) throw new Error('The answer is too long.');
  }
  return { status: response.statusCode ?? 0, text };
}

function parse<T>(answer: Answer): T {
  return JSON.parse(answer.text);
}
