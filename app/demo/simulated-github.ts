/** Drives the simulated GitHub through its control API (`/_sim`). */
import { request } from 'undici';
import { z } from 'zod';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';

const CALL_LIMIT_MS = 15_000;

export class SimulatedGithubError extends ArchitectError {
  readonly code = 'SIMULATED_GITHUB';
  readonly retry = 'never';
}

const Moment = z.number().nullable();

export const SimulatedJob = z.object({
  id: z.number().transform(String),
  name: z.string(),
  status: z.string(),
  conclusion: z.string().nullable(),
  runnerName: z.string().nullable(),
  queuedAtMs: z.number(),
  webhookSentAtMs: Moment,
  runnerOnlineAtMs: Moment,
  assignedAtMs: Moment,
  firstStepAtMs: Moment,
  completedAtMs: Moment,
});
export type SimulatedJob = Readonly<z.infer<typeof SimulatedJob>>;

const Run = z.object({ id: z.number(), jobs: z.array(SimulatedJob) });
const Runners = z.object({ runners: z.array(z.object({ id: z.number(), name: z.string() })) });

export interface ApiFault {
  /** A regular expression for the path of the calls that fail. */
  readonly path: string;
  readonly status: number;
  readonly count: number;
}

export class SimulatedGithub {
  readonly #url: string;
  readonly #controlToken: string;

  constructor({ url, controlToken }: { readonly url: string; readonly controlToken: string }) {
    this.#url = url;
    this.#controlToken = controlToken;
  }

  /** Pushes a workflow to acme/widgets; gives its jobs, in the workflow's order. */
  async push(workflow: string, signal: AbortSignal): Promise<readonly SimulatedJob[]> {
    const answer = await this.#call('POST', '/repos/acme/widgets/push', {
      signal,
      body: { workflow },
    });
    return Run.parse(await answer.json()).jobs;
  }

  /** Puts a file on the default branch of acme/widgets. */
  async putFile(file: { readonly path: string; readonly text: string }, signal: AbortSignal) {
    await this.#call('PUT', '/repos/acme/widgets/files', { signal, body: { ...file } });
  }

  /** What the first installation grants the App from now on. */
  async grant(permissions: Readonly<Record<string, 'read' | 'write'>>, signal: AbortSignal) {
    await this.#call('PATCH', '/installations/1', { signal, body: { permissions } });
  }

  async readJob(jobId: string, signal: AbortSignal): Promise<SimulatedJob> {
    return SimulatedJob.parse(await (await this.#call('GET', `/jobs/${jobId}`, { signal })).json());
  }

  async readLog(jobId: string, signal: AbortSignal): Promise<string> {
    return await (await this.#call('GET', `/jobs/${jobId}/log`, { signal })).text();
  }

  /** The job's summary: markdown. */
  async readSummary(jobId: string, signal: AbortSignal): Promise<string> {
    return await (await this.#call('GET', `/jobs/${jobId}/summary`, { signal })).text();
  }

  /** Hands on the job's log from its beginning, as it comes; resolves when the job has ended. */
  async followLog(
    jobId: string,
    write: (text: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { body } = await request(`${this.#url}/_sim/jobs/${jobId}/log?follow=true`, {
      headers: this.#authorization(),
      // The answer comes when the job does, and lasts as long: no limit but the signal.
      headersTimeout: 0,
      bodyTimeout: 0,
      signal,
    });
    const decoder = new TextDecoder();
    for await (const bytes of body) write(decoder.decode(bytes, { stream: true }));
  }

  async cancel(jobId: string, signal: AbortSignal): Promise<void> {
    await this.#call('POST', `/jobs/${jobId}/cancel`, { signal, body: {} });
  }

  /** The next `count` calls of GitHub's API whose path matches are answered with `status`. */
  async failApi(fault: ApiFault, signal: AbortSignal): Promise<void> {
    await this.#call('POST', '/faults/api', { signal, body: { ...fault } });
  }

  async healApi(signal: AbortSignal): Promise<void> {
    await this.#call('DELETE', '/faults/api', { signal });
  }

  async listRunnerNames(signal: AbortSignal): Promise<readonly string[]> {
    const answer = await this.#call('GET', '/runners', { signal });
    return Runners.parse(await answer.json()).runners.map(({ name }) => name);
  }

  #authorization() {
    return { authorization: `Bearer ${this.#controlToken}` };
  }

  async #call(
    method: string,
    path: string,
    options: {
      readonly signal: AbortSignal;
      readonly body?: Readonly<Record<string, unknown>>;
    },
  ): Promise<Response> {
    const { signal, body } = options;
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await fetch(`${this.#url}/_sim${path}`, {
      method,
      headers: { ...headers, ...this.#authorization() },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_LIMIT_MS)]),
    });
    if (answer.ok) return answer;
    throw new SimulatedGithubError(
      `The simulated GitHub answered ${answer.status} to ${method} ${path}: ${await answer.text()}`,
    );
  }
}
