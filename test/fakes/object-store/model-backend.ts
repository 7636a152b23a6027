/**
 * An object store in memory whose every operation takes effect at one moment, when its scheduler says
 * so, at the scheduler's time. List times are the store's, cut to whole seconds as S3's are.
 */
import { randomBytes } from 'node:crypto';
import {
  ConditionFailedError,
  ObjectMissingError,
} from '../../../host-agent/chunks/chunk-errors.ts';
import { probeConditionalPut } from '../../../host-agent/chunks/conditional-put-probe.ts';
import type {
  Cancellable,
  GetOptions,
  ListedObject,
  ObjectBackend,
  PutOptions,
} from '../../../host-agent/chunks/object-backend.ts';
import { UsageCounter } from '../../../host-agent/chunks/usage-counter.ts';

interface ModelObject {
  readonly body: Buffer;
  readonly etag: string;
  readonly modifiedAtMs: number;
}

/** Resolves when it is this operation's turn. */
export type Turn = (operation: string) => Promise<void>;

export class ModelObjects {
  readonly objects = new Map<string, ModelObject>();
  nowMs = 1_800_000_000_000;
}

export class ModelBackend implements ObjectBackend {
  readonly #world: ModelObjects;
  readonly #turn: Turn;
  readonly #usage = new UsageCounter();
  /** Asked before each operation takes effect; what it throws is what the caller gets. */
  fail: (operation: string, key: string) => void = () => undefined;

  constructor(world: ModelObjects, turn: Turn = async () => undefined) {
    this.#world = world;
    this.#turn = turn;
  }

  get usage() {
    return this.#usage.read();
  }

  async put(key: string, body: Buffer, { signal, condition }: PutOptions) {
    await this.#begin('put', key, signal);
    this.#usage.add('puts');
    this.#usage.add('bytesUp', body.length);
    const wanted = condition?.kind === 'matches' ? condition.etag : undefined;
    if (condition !== undefined && this.#world.objects.get(key)?.etag !== wanted) {
      throw new ConditionFailedError('model');
    }
    const etag = randomBytes(8).toString('hex');
    const modifiedAtMs = Math.floor(this.#world.nowMs / 1000) * 1000;
    this.#world.objects.set(key, { body: Buffer.from(body), etag, modifiedAtMs });
    return { etag };
  }

  async get(key: string, { signal, range }: GetOptions) {
    await this.#begin('get', key, signal);
    this.#usage.add('gets');
    const found = this.#world.objects.get(key);
    if (found === undefined) throw new ObjectMissingError('model', { context: { key } });
    const { offset, length } = range ?? { offset: 0, length: found.body.length };
    const body = found.body.subarray(offset, offset + length);
    this.#usage.add('bytesDown', body.length);
    return { body, etag: found.etag };
  }

  async *list(prefix: string, { signal }: Cancellable): AsyncGenerator<ListedObject> {
    await this.#begin('list', prefix, signal);
    this.#usage.add('lists');
    const found = [...this.#world.objects].filter(([key]) => key.startsWith(prefix));
    for (const [key, { body, modifiedAtMs }] of found.toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      yield { key, sizeBytes: body.length, modifiedAtMs };
    }
  }

  async remove(keys: readonly string[], { signal }: Cancellable) {
    if (keys.length === 0) return;
    await this.#begin('remove', keys[0] ?? '', signal);
    this.#usage.add('removes');
    for (const key of keys) this.#world.objects.delete(key);
  }

  checkConditionalPut(signal: AbortSignal) {
    return probeConditionalPut(this, signal);
  }

  close() {}

  async #begin(operation: string, key: string, signal: AbortSignal): Promise<void> {
    await this.#turn(`${operation} ${key}`);
    signal.throwIfAborted();
    this.fail(operation, key);
  }
}
