/**
 * The reconciler's lease: of all control planes on one Redis, one acts.
 *
 *   free ──acquire──→ held ──renew──→ held
 *                       ├── not renewed in time, or renewed by nobody because it vanished ──→ lost
 *                       └── its process has ended, seen on the same machine ──→ another's at once
 *
 * The holder counts from before it asked, so it lets go no later than Redis does. `fence` grows
 * with every acquisition, in the same step. Records are safe beyond that by their generations.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { isOfTheDead, ownToken } from './lease-holder.ts';

const acquireScript = readFileSync(new URL('lua/acquire-lease.lua', import.meta.url), 'utf8');
const renewScript = readFileSync(new URL('lua/renew-lease.lua', import.meta.url), 'utf8');
const releaseScript = readFileSync(new URL('lua/release-lease.lua', import.meta.url), 'utf8');

export const DEFAULT_LEASE_MS = 10_000;

/** A fence, or the holder's token. */
const Acquired = z.union([z.int(), z.string()]);

export interface LeaseOptions {
  readonly redis: Redis;
  readonly fleet: string;
  readonly durationMs?: number;
  readonly now?: () => number;
}

export class Lease {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #durationMs: number;
  readonly #now: () => number;
  readonly #token = ownToken(randomUUID());
  #heldUntilMs = 0;
  #fence = 0;

  constructor({ redis, fleet, durationMs = DEFAULT_LEASE_MS, now = Date.now }: LeaseOptions) {
    this.#redis = redis;
    this.#key = `architect:${fleet}:lease`;
    this.#durationMs = durationMs;
    this.#now = now;
  }

  get held(): boolean {
    return this.#now() < this.#heldUntilMs;
  }

  /** Which acquisition this is; larger than every holder's before. */
  get fence(): number {
    return this.#fence;
  }

  /** Acquires or renews; false when another holds it. An error of Redis leaves the lease to run out. */
  async keep(): Promise<boolean> {
    const askedAtMs = this.#now();
    const kept = (await this.#renew()) || (await this.#acquire());
    this.#heldUntilMs = kept ? askedAtMs + this.#durationMs : 0;
    return kept;
  }

  /** Idempotent. */
  async release(): Promise<void> {
    this.#heldUntilMs = 0;
    await this.#redis.eval(releaseScript, 1, this.#key, this.#token);
  }

  async #renew(): Promise<boolean> {
    const answer = await this.#redis.eval(renewScript, 1, this.#key, this.#token, this.#durationMs);
    return answer === 1;
  }

  async #acquire(): Promise<boolean> {
    const holder = await this.#take();
    if (holder === undefined) return true;
    return isOfTheDead(holder) && (await this.#take(holder)) === undefined;
  }

  /** Undefined: it is ours. Else the token of its holder, who is not the dead one. */
  async #take(dead = ''): Promise<string | undefined> {
    const keys = [this.#key, `${this.#key}:fence`];
    const arguments_ = [this.#token, this.#durationMs, dead];
    const answer = Acquired.parse(
      await this.#redis.eval(acquireScript, keys.length, ...keys, ...arguments_),
    );
    if (typeof answer === 'string') return answer;
    this.#fence = answer;
    return undefined;
  }
}
