/**
 * Webhook deliveries: signed, sent once, recorded; never sent again unless asked to, as GitHub does.
 * Faults are set by tests and used up one delivery at a time, in the order: lost, wrong signature,
 * late, twice, out of order.
 * Source: docs.github.com, "Validating webhook deliveries", "Redelivering webhooks".
 */
import { createHmac, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { shuffled } from './random.ts';
import type { World } from './world.ts';

const MAX_RECORDED = 20_000;
const MAX_RESPONSE_TEXT = 1_000;
const HOOK_ID = 1;
const COULD_NOT_CONNECT = 502;

const Count = z.int().min(0).max(10_000);

/** What goes wrong with the next deliveries; what is not named stays as it is. */
export const DeliveryFaults = z.strictObject({
  /** Recorded as failed, unless `unrecorded`: then nothing of them is left. */
  drop: z.strictObject({ count: Count, unrecorded: z.boolean().default(false) }).optional(),
  delay: z.strictObject({ count: Count, ms: z.int().min(0) }).optional(),
  duplicate: z.strictObject({ count: Count, copies: z.int().min(1).max(100) }).optional(),
  /** So many are held back, then sent in random order. */
  shuffle: z.strictObject({ count: Count }).optional(),
  wrongSignature: z.strictObject({ count: Count }).optional(),
});
export type DeliveryFaults = z.infer<typeof DeliveryFaults>;

export interface Delivery {
  readonly id: number;
  readonly guid: string;
  readonly event: string;
  readonly action: string;
  readonly body: string;
  /** Unset: the first App's. */
  readonly appId: number | undefined;
  readonly installationId: number | null;
  readonly repositoryId: number | null;
  readonly redelivery: boolean;
  readonly deliveredAtMs: number;
  durationMs: number;
  statusCode: number;
  response: string;
  headers: Readonly<Record<string, string>>;
}

export interface EventToSend {
  readonly event: string;
  readonly action: string;
  readonly payload: unknown;
  readonly appId: number | undefined;
  readonly installationId: number | null;
  readonly repositoryId: number | null;
  readonly onSend?: () => void;
}

export class Webhooks {
  readonly #world: World;
  readonly #deliveries = new Map<number, Delivery>();
  readonly #stop = new AbortController();
  readonly #held: (() => void)[] = [];
  #faults: DeliveryFaults = {};
  url: string | undefined;

  constructor(world: World) {
    this.#world = world;
    this.url = world.options.webhookUrl;
  }

  get faults(): DeliveryFaults {
    return this.#faults;
  }

  setFaults(faults: DeliveryFaults): void {
    this.#faults = { ...this.#faults, ...faults };
    if (!this.#faults.shuffle?.count) this.#releaseHeld();
  }

  /** Newest first. */
  list(): Delivery[] {
    const oldestMs = Date.now() - this.#world.options.durations.deliveryLogMs;
    return [...this.#deliveries.values()]
      .filter(({ deliveredAtMs }) => deliveredAtMs >= oldestMs)
      .sort((a, b) => b.id - a.id);
  }

  find(id: number): Delivery | undefined {
    return this.#deliveries.get(id);
  }

  send(toSend: EventToSend): void {
    const delivery = this.#create(toSend);
    if (this.#use('drop')) {
      if (this.#faults.drop?.unrecorded) return;
      delivery.statusCode = COULD_NOT_CONNECT;
      this.#record(delivery);
      return;
    }
    const wrong = this.#use('wrongSignature');
    const waitMs = this.#use('delay') ? (this.#faults.delay?.ms ?? 0) : 0;
    const copies = this.#use('duplicate') ? (this.#faults.duplicate?.copies ?? 1) : 0;
    const go = () => {
      toSend.onSend?.();
      for (let copy = 0; copy <= copies; copy += 1) void this.#deliver(delivery, { wrong, waitMs });
    };
    if (!this.#use('shuffle')) {
      go();
      return;
    }
    this.#held.push(go);
    if (this.#faults.shuffle?.count === 0) this.#releaseHeld();
  }

  /** The same body and GUID again, as a delivery of its own. */
  redeliver(original: Delivery): void {
    const delivery = {
      ...original,
      id: this.#world.nextId(),
      redelivery: true,
      deliveredAtMs: Date.now(),
    };
    void this.#deliver(delivery, { wrong: false, waitMs: 0 });
  }

  close(): void {
    this.#stop.abort();
  }

  #create(toSend: EventToSend): Delivery {
    const { event, action, payload, appId, installationId, repositoryId } = toSend;
    return {
      id: this.#world.nextId(),
      guid: randomUUID(),
      event,
      action,
      body: JSON.stringify(payload),
      appId,
      installationId,
      repositoryId,
      redelivery: false,
      deliveredAtMs: Date.now(),
      durationMs: 0,
      statusCode: 0,
      response: '',
      headers: {},
    };
  }

  #use(fault: keyof DeliveryFaults): boolean {
    const setting = this.#faults[fault];
    if (setting === undefined || setting.count === 0) return false;
    setting.count -= 1;
    return true;
  }

  #releaseHeld(): void {
    const held = this.#held.splice(0);
    for (const go of shuffled(held, this.#world.random)) go();
  }

  async #deliver(
    delivery: Delivery,
    { wrong, waitMs }: { readonly wrong: boolean; readonly waitMs: number },
  ): Promise<void> {
    try {
      if (waitMs > 0) await delay(waitMs, undefined, { signal: this.#stop.signal });
    } catch {
      return;
    }
    const startedAtMs = Date.now();
    delivery.headers = this.#headers(delivery, wrong);
    try {
      await this.#post(delivery);
    } catch (error) {
      delivery.statusCode = COULD_NOT_CONNECT;
      delivery.response = String(error);
    }
    delivery.durationMs = Date.now() - startedAtMs;
    this.#record(delivery);
  }

  async #post(delivery: Delivery): Promise<void> {
    if (this.url === undefined) throw new Error('No webhook URL is set.');
    const limit = AbortSignal.timeout(this.#world.options.durations.webhookTimeoutMs);
    const answer = await fetch(this.url, {
      method: 'POST',
      body: delivery.body,
      headers: delivery.headers,
      signal: AbortSignal.any([limit, this.#stop.signal]),
    });
    delivery.statusCode = answer.status;
    delivery.response = (await answer.text()).slice(0, MAX_RESPONSE_TEXT);
  }

  #record(delivery: Delivery): void {
    this.#deliveries.set(delivery.id, delivery);
    const oldest = this.#deliveries.keys().next();
    if (this.#deliveries.size > MAX_RECORDED && !oldest.done) this.#deliveries.delete(oldest.value);
  }

  #headers(delivery: Delivery, wrong: boolean): Record<string, string> {
    const app = this.#world.appOf(delivery);
    const secret = wrong ? 'not the secret' : app.webhookSecret;
    const sign = (hash: string) => createHmac(hash, secret).update(delivery.body).digest('hex');
    return {
      'Content-Type': 'application/json',
      'User-Agent': 'GitHub-Hookshot/0000000',
      Accept: '*/*',
      'X-GitHub-Delivery': delivery.guid,
      'X-GitHub-Event': delivery.event,
      'X-GitHub-Hook-ID': String(HOOK_ID),
      'X-GitHub-Hook-Installation-Target-ID': String(app.id),
      'X-GitHub-Hook-Installation-Target-Type': 'integration',
      'X-Hub-Signature': `sha1=${sign('sha1')}`,
      'X-Hub-Signature-256': `sha256=${sign('sha256')}`,
    };
  }
}
