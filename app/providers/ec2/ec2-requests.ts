/**
 * The way to EC2: one client, its calls bounded in time and in number at once, their errors translated.
 * The SDK tries a call again by itself (three times in all, with back-off) where the answer was lost or
 * says "later"; a client token is the same each time, so nothing is bought twice.
 *
 * A call that spends money is not given up in the middle: it ends by its own limit, so that what it
 * bought is known.
 */
import type { EC2Client } from '@aws-sdk/client-ec2';
import { translateEc2Error } from './ec2-errors.ts';
import type { Ec2Settings } from './ec2-settings.ts';

export interface Ec2Limits {
  readonly connectMs: number;
  /** For one attempt. */
  readonly attemptMs: number;
  /** For a call with all its attempts. */
  readonly callMs: number;
  readonly attempts: number;
  readonly sockets: number;
}

export const EC2_LIMITS: Ec2Limits = {
  connectMs: 3_000,
  attemptMs: 20_000,
  callMs: 45_000,
  attempts: 3,
  sockets: 16,
};

export type Ec2Sdk = typeof import('@aws-sdk/client-ec2');

export interface Ec2Call {
  readonly sdk: Ec2Sdk;
  readonly client: EC2Client;
  readonly abortSignal: AbortSignal;
}

export class Ec2Requests {
  readonly #sdk: Ec2Sdk;
  readonly #client: EC2Client;
  readonly #limits: Ec2Limits;

  constructor(sdk: Ec2Sdk, settings: Pick<Ec2Settings, 'region' | 'endpoint'>, limits: Ec2Limits) {
    this.#sdk = sdk;
    this.#limits = limits;
    const { connectMs, attemptMs, attempts, sockets } = limits;
    this.#client = new sdk.EC2Client({
      region: settings.region,
      maxAttempts: attempts,
      requestHandler: {
        connectionTimeout: connectMs,
        requestTimeout: attemptMs,
        throwOnRequestTimeout: true,
        httpAgent: { keepAlive: true, maxSockets: sockets },
        httpsAgent: { keepAlive: true, maxSockets: sockets },
      },
      ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    });
  }

  /** Throws the signal's reason when that ended it, else one of ec2-errors.ts. */
  async run<T>(
    what: string,
    signal: AbortSignal | undefined,
    task: (call: Ec2Call) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    const limit = AbortSignal.timeout(this.#limits.callMs);
    const abortSignal = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    try {
      return await task({ sdk: this.#sdk, client: this.#client, abortSignal });
    } catch (error) {
      signal?.throwIfAborted();
      throw translateEc2Error(error, what);
    }
  }

  close(): void {
    this.#client.destroy();
  }
}
