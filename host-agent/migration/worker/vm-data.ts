/** The main thread's hold on a VM's data worker. */
import { Worker } from 'node:worker_threads';
import type { DataCommands, DataEvent } from './data-commands.ts';
import { WorkerCalls } from './worker-calls.ts';

const PROGRAM = new URL('./data-worker.ts', import.meta.url);
/** Heap of JavaScript objects; images and buffers lie outside of it. */
const HEAP_MIB = 512;

export type DataListener = (event: DataEvent) => void;

export class VmData {
  readonly #worker: Worker;
  readonly #calls: WorkerCalls<DataCommands, DataEvent>;
  readonly #listeners = new Set<DataListener>();
  readonly #exited = Promise.withResolvers<string>();

  constructor() {
    this.#worker = new Worker(PROGRAM, { resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB } });
    this.#calls = new WorkerCalls(this.#worker, (event) => {
      for (const listener of [...this.#listeners]) listener(event);
    });
    let cause: string | undefined;
    this.#worker.on('error', (error) => {
      cause = error instanceof Error ? error.message : String(error);
    });
    this.#worker.on('exit', (code) => {
      const why = cause ?? `exit code ${code}`;
      this.#calls.end(why);
      this.#exited.resolve(why);
    });
    // A VM must not keep an agent alive that was told to end.
    this.#worker.unref();
  }

  /** Settles, with why, when the worker is gone; what it held is gone with it. */
  get exited(): Promise<string> {
    return this.#exited.promise;
  }

  /** Rejects with DataWorkerError, also when the worker is gone. */
  call<K extends keyof DataCommands>(
    name: K,
    ...takes: Parameters<DataCommands[K]>
  ): ReturnType<DataCommands[K]> {
    return this.#calls.call(name, ...takes);
  }

  /** Answers how to stop listening. */
  on(listener: DataListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ends the worker, with its sockets and images. */
  async end(): Promise<void> {
    await this.#worker.terminate();
    await this.#exited.promise;
  }
}
