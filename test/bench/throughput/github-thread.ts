/**
 * GitHub, in a thread of its own so that its work is not counted as the control plane's. It queues
 * jobs, gives each runner that comes online the oldest queued one, and says so by signed webhooks:
 *
 *   queued → (a runner is online) in_progress → completed → the runner exits
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';
import {
  FIRST_JOB_ID,
  type FromGithub,
  type GithubOptions,
  type ToGithub,
} from './github-messages.ts';
import { createEventWriter, type JobStatus, signBody } from './job-events.ts';

const CONNECTIONS = 16;
const ANSWER_TIMEOUT_MS = 60_000;

class GithubThread {
  readonly #options: GithubOptions;
  readonly #write = createEventWriter();
  /** Two sets of connections: what happens to running jobs does not wait behind new ones. */
  readonly #queueing = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  readonly #running = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  readonly #queued: number[] = [];
  readonly #idle: string[] = [];
  readonly #busy = new Set<string>();
  #begun = 0;
  #completed = 0;
  #webhooks = 0;

  constructor(options: GithubOptions) {
    this.#options = options;
  }

  hear(message: ToGithub): void {
    if (message.kind === 'begin') this.#queueMore();
    if (message.kind === 'runner-online' && this.#options.held !== true) {
      this.#idle.push(message.runnerName);
      this.#match();
    }
    if (message.kind === 'remove-runner') {
      const { requestId, runnerName } = message;
      post({ kind: 'runner-removed', requestId, outcome: this.#remove(runnerName) });
    }
  }

  #queueMore(): void {
    const { jobs, openJobs } = this.#options;
    while (this.#begun < jobs && this.#begun - this.#completed < openJobs) {
      const jobId = FIRST_JOB_ID + this.#begun;
      this.#begun += 1;
      this.#queued.push(jobId);
      this.#attempt(this.#tell({ jobId, status: 'queued', runnerName: null }, this.#queueing));
    }
  }

  #match(): void {
    while (this.#queued.length > 0 && this.#idle.length > 0) {
      const jobId = this.#queued.shift();
      const runnerName = this.#idle.shift();
      if (jobId === undefined || runnerName === undefined) return;
      this.#busy.add(runnerName);
      this.#attempt(this.#run(jobId, runnerName));
    }
  }

  async #run(jobId: number, runnerName: string): Promise<void> {
    await this.#tell({ jobId, status: 'in_progress', runnerName }, this.#running);
    await this.#tell({ jobId, status: 'completed', runnerName }, this.#running);
    this.#busy.delete(runnerName);
    this.#completed += 1;
    post({ kind: 'runner-exited', runnerName });
    if (this.#completed === this.#options.jobs) {
      post({ kind: 'all-completed', webhooks: this.#webhooks });
    }
    this.#queueMore();
  }

  #remove(runnerName: string): 'removed' | 'busy' | 'absent' {
    if (this.#busy.has(runnerName)) return 'busy';
    const at = this.#idle.indexOf(runnerName);
    if (at < 0) return 'absent';
    this.#idle.splice(at, 1);
    return 'removed';
  }

  async #tell(job: Omit<JobStatus, 'atMs'>, agent: Agent): Promise<void> {
    const body = this.#write({ ...job, atMs: Date.now() });
    const { webhookUrl, webhookSecret } = this.#options;
    const status = await send({ url: webhookUrl, agent, body, secret: webhookSecret });
    if (status !== 200) throw new Error(`a ${job.status} webhook was answered with ${status}`);
    this.#webhooks += 1;
  }

  #attempt(work: Promise<void>): void {
    work.catch((error: unknown) => post({ kind: 'failed', why: String(error) }));
  }
}

function send(delivery: {
  readonly url: string;
  readonly agent: Agent;
  readonly body: string;
  readonly secret: string;
}): Promise<number> {
  const { url, agent, body, secret } = delivery;
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-github-event': 'workflow_job',
    'x-github-delivery': randomUUID(),
    'x-hub-signature-256': signBody(body, secret),
  };
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const sent = request(url, { method: 'POST', agent, headers, timeout: ANSWER_TIMEOUT_MS });
  sent.on('timeout', () => sent.destroy(new Error('a webhook was not answered in time')));
  sent.on('error', reject);
  sent.on('response', (answer) => {
    answer.resume();
    answer.on('end', () => resolve(answer.statusCode ?? 0));
  });
  sent.end(body);
  return promise;
}

function post(message: FromGithub): void {
  parentPort?.postMessage(message);
}

const github = new GithubThread(workerData);
parentPort?.on('message', (message: ToGithub) => github.hear(message));
