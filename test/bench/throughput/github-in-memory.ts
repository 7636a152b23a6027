/** The control plane's view of the GitHub in the other thread: its runners and its word on jobs. */
import { Worker } from 'node:worker_threads';
import type { JobSource, Runners } from '../../../app/reconciler/ports.ts';
import type { JobOrigin } from '../../../app/records/records.ts';
import type { FromGithub, GithubOptions, ToGithub } from './github-messages.ts';

type Removal = 'removed' | 'busy' | 'absent';

export class GithubInMemory implements Runners, JobSource {
  readonly #worker: Worker;
  readonly #names = new Map<number, string>();
  readonly #removals = new Map<number, (outcome: Removal) => void>();
  readonly #allCompleted = Promise.withResolvers<number>();
  #minted = 0;
  #asked = 0;
  onRunnerExit: (runnerName: string) => void = () => undefined;

  constructor(options: GithubOptions) {
    const file = new URL('github-thread.ts', import.meta.url);
    this.#worker = new Worker(file, { workerData: options });
    this.#worker.on('message', (message: FromGithub) => this.#hear(message));
    this.#worker.on('error', (error) => this.#allCompleted.reject(error));
    this.#allCompleted.promise.catch(() => undefined);
  }

  /** Resolves with the number of webhooks when every job has completed and been told. */
  get allCompleted(): Promise<number> {
    return this.#allCompleted.promise;
  }

  begin(): void {
    this.#post({ kind: 'begin' });
  }

  runnerOnline(runnerName: string): void {
    this.#post({ kind: 'runner-online', runnerName });
  }

  /** Nothing limits it: the control plane is what is measured. */
  mayMint(): boolean {
    return true;
  }

  async mint({ runnerName }: { readonly runnerName: string }) {
    this.#minted += 1;
    this.#names.set(this.#minted, runnerName);
    return { kind: 'minted' as const, runnerId: this.#minted, jitConfig: 'e30=' };
  }

  async remove(_origin: JobOrigin, runnerId: number): Promise<Removal> {
    const runnerName = this.#names.get(runnerId);
    if (runnerName === undefined) return 'absent';
    this.#asked += 1;
    const { promise, resolve } = Promise.withResolvers<Removal>();
    this.#removals.set(this.#asked, resolve);
    this.#post({ kind: 'remove-runner', runnerName, requestId: this.#asked });
    const outcome = await promise;
    if (outcome !== 'busy') this.#names.delete(runnerId);
    return outcome;
  }

  /** No webhook is lost here, so nobody needs to ask. */
  async readJob() {
    return undefined;
  }

  async listOpenJobs() {
    return [];
  }

  /** Microseconds of CPU that the thread has used. */
  async cpuUs(): Promise<number> {
    const { user, system } = await this.#worker.cpuUsage();
    return user + system;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #hear(message: FromGithub): void {
    if (message.kind === 'runner-exited') this.onRunnerExit(message.runnerName);
    if (message.kind === 'all-completed') this.#allCompleted.resolve(message.webhooks);
    if (message.kind === 'failed') this.#allCompleted.reject(new Error(message.why));
    if (message.kind === 'runner-removed') {
      this.#removals.get(message.requestId)?.(message.outcome);
      this.#removals.delete(message.requestId);
    }
  }

  #post(message: ToGithub): void {
    this.#worker.postMessage(message);
  }
}
