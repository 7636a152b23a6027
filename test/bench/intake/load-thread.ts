/**
 * GitHub's side of the webhooks, as lean as it can be, since it shares the machine with what is
 * measured: plain sockets that are kept, one request at a time on each.
 *
 *   due (at an even pace, or at once) ─▶ the next free connection ─▶ answered 200
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { FIRST_JOB_ID } from '../throughput/github-messages.ts';
import { createEventWriter, signBody } from '../throughput/job-events.ts';
import type { LoadDone, LoadOptions } from './load-messages.ts';

const PACE_MS = 1;
/** As long as an id, and nowhere else in the body. */
const PLACEHOLDER = 49_876_543_210;
const ANSWERED = 'HTTP/1.1 200 ';

class Load {
  readonly #options: LoadOptions;
  readonly #pieces: readonly string[];
  readonly #free: Socket[] = [];
  readonly #latenciesMs: Float64Array;
  readonly #done = Promise.withResolvers<void>();
  #beganMs = 0;
  #sent = 0;
  #answered = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#latenciesMs = new Float64Array(options.webhooks);
    const write = createEventWriter();
    const body = write({
      ...{ jobId: PLACEHOLDER, status: 'queued', runnerName: null },
      atMs: Date.now(),
    });
    this.#pieces = body.split(String(PLACEHOLDER));
  }

  /** Rejects when a webhook is answered with anything but 200. */
  async run(): Promise<LoadDone> {
    const { connections, port, webhooks, perSecond } = this.#options;
    for (let n = 0; n < connections; n += 1) this.#free.push(await this.#open(port));
    const cpuBefore = process.threadCpuUsage();
    this.#beganMs = performance.now();
    const timer = perSecond === undefined ? undefined : setInterval(() => this.#send(), PACE_MS);
    this.#send();
    try {
      await this.#done.promise;
    } finally {
      clearInterval(timer);
      for (const socket of this.#free) socket.destroy();
    }
    const seconds = (performance.now() - this.#beganMs) / 1000;
    const { user, system } = process.threadCpuUsage(cpuBefore);
    return { latenciesMs: this.#latenciesMs.slice(0, webhooks), seconds, cpuUs: user + system };
  }

  async #open(port: number): Promise<Socket> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.setEncoding('latin1');
    socket.on('error', (error) => this.#done.reject(error));
    socket.on('close', () => this.#done.reject(new Error('A connection was closed.')));
    await once(socket, 'connect');
    return socket;
  }

  /** When the `n`-th is to be sent; without a pace, when it can be. */
  #dueAtMs(n: number, nowMs: number): number {
    const { perSecond } = this.#options;
    return perSecond === undefined ? nowMs : this.#beganMs + (n * 1000) / perSecond;
  }

  #send(): void {
    while (this.#sent < this.#options.webhooks) {
      const nowMs = performance.now();
      const dueAtMs = this.#dueAtMs(this.#sent, nowMs);
      // In turn: the front door closes what is silent for long.
      const socket = dueAtMs > nowMs ? undefined : this.#free.shift();
      if (socket === undefined) return;
      this.#ask(socket, this.#sent, dueAtMs);
      this.#sent += 1;
    }
  }

  #ask(socket: Socket, n: number, dueAtMs: number): void {
    socket.once('data', (answer: string) => {
      if (!answer.startsWith(ANSWERED)) {
        this.#done.reject(new Error(`A webhook was answered with ${answer.split('\r\n')[0]}.`));
        return;
      }
      this.#latenciesMs[n] = performance.now() - dueAtMs;
      this.#free.push(socket);
      this.#answered += 1;
      if (this.#answered === this.#options.webhooks) this.#done.resolve();
      else this.#send();
    });
    socket.write(this.#request(n));
  }

  #request(n: number): string {
    const { path, secret, port } = this.#options;
    const body = this.#pieces.join(String(FIRST_JOB_ID + n));
    return [
      `POST ${path} HTTP/1.1`,
      `host: 127.0.0.1:${port}`,
      'user-agent: GitHub-Hookshot/bench',
      'content-type: application/json',
      `content-length: ${Buffer.byteLength(body)}`,
      'x-github-event: workflow_job',
      `x-github-delivery: ${randomUUID()}`,
      `x-hub-signature-256: ${signBody(body, secret)}`,
      '',
      body,
    ].join('\r\n');
  }
}

parentPort?.postMessage(await new Load(workerData).run());
