/**
 * Calls from the agent's main thread into a worker thread, and events back: typed by one map of
 * commands, settled exactly once each. A worker that ends fails every call that waits on it.
 */
import type { MessagePort } from 'node:worker_threads';
import { ArchitectError } from '../../protocol/errors.ts';

const MAX_PENDING = 100;

/** What went wrong in a worker, with the code of the error that it threw there. */
export class DataWorkerError extends ArchitectError {
  readonly code: string;
  readonly retry = 'later';

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

/** Calls by name. What they take and give must survive the structured clone. */
export type Calls<M> = { readonly [K in keyof M]: (...takes: never[]) => Promise<unknown> };

interface Call {
  readonly id: number;
  readonly name: PropertyKey;
  readonly takes: readonly unknown[];
}

type Answer =
  | { readonly kind: 'gives'; readonly id: number; readonly gives: unknown }
  | { readonly kind: 'fails'; readonly id: number; readonly message: string; readonly code: string }
  | { readonly kind: 'event'; readonly event: unknown };

/** The worker's side: serves calls, and answers how to send an event. */
export function serveCalls<M extends Calls<M>, E>(
  port: Pick<MessagePort, 'on' | 'postMessage'>,
  handlers: M,
): (event: E) => void {
  const post = (answer: Answer) => port.postMessage(answer);
  const serve = async ({ name, takes }: Call): Promise<unknown> =>
    Reflect.apply(Reflect.get(handlers, name), handlers, takes);
  port.on('message', (call: Call) => {
    const { id } = call;
    serve(call).then(
      (gives) => post({ kind: 'gives', id, gives }),
      (error: unknown) => post({ kind: 'fails', id, ...describe(error) }),
    );
  });
  return (event) => post({ kind: 'event', event });
}

export interface WorkerSide {
  on(event: 'message', listener: (answer: Answer) => void): unknown;
  postMessage(call: Call): void;
}

/** The main thread's side. */
export class WorkerCalls<M extends Calls<M>, E> {
  readonly #worker: WorkerSide;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 1;
  #ended: DataWorkerError | undefined;

  constructor(worker: WorkerSide, onEvent: (event: E) => void) {
    this.#worker = worker;
    worker.on('message', (answer) => {
      if (answer.kind === 'event') onEvent(answer.event as E);
      else this.#settle(answer);
    });
  }

  /** Rejects with DataWorkerError. Its time limit is the command's own business. */
  call<K extends keyof M>(name: K, ...takes: Parameters<M[K]>): ReturnType<M[K]> {
    return this.#send(name, takes) as ReturnType<M[K]>;
  }

  async #send(name: PropertyKey, takes: readonly unknown[]): Promise<unknown> {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#pending.size >= MAX_PENDING) throw new RangeError('too many calls into a worker');
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    this.#pending.set(id, answer);
    this.#worker.postMessage({ id, name, takes });
    return answer.promise;
  }

  /** Fails what waits, and each later call. */
  end(why: string): void {
    this.#ended ??= new DataWorkerError(`The VM's data worker ended: ${why}.`, 'WORKER_ENDED');
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }

  #settle(answer: Exclude<Answer, { readonly kind: 'event' }>): void {
    const call = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if (answer.kind === 'gives') call?.resolve(answer.gives);
    else call?.reject(new DataWorkerError(answer.message, answer.code));
  }
}

function describe(error: unknown): { readonly message: string; readonly code: string } {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof ArchitectError ? error.code : 'WORKER_FAILED';
  return { message, code };
}
