import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  ConditionalPutUnsupportedError,
  ConditionFailedError,
  StoreRefusedError,
  StoreUnavailableError,
} from '../../../host-agent/chunks/chunk-errors.ts';
import type { ObjectBackend } from '../../../host-agent/chunks/object-backend.ts';
import { openBackend } from '../../../host-agent/chunks/open-backend.ts';
import { openS3Backend } from '../../../host-agent/chunks/s3-backend.ts';
import type { S3StoreSpec } from '../../../host-agent/protocol/store-spec.ts';
import {
  type Fault,
  type FaultProxy,
  startFaultProxy,
} from '../../fakes/object-store/fault-proxy.ts';
import { type Moto, startMoto } from '../../fakes/object-store/moto.ts';
import { describeBackend } from './backend-contract.ts';
import { collect } from './collect.ts';

const { signal } = new AbortController();
const SECRET = 'wJalrXUtnFEMI-very-secret';
const TOKEN = 'session-token-very-secret';
/** Short waits: the faults here come as often as they are asked for. */
const LIMITS = {
  attempts: 3,
  firstMs: 1,
  longestMs: 2,
  requestMs: 400,
  connectMs: 300,
  slowestBytesPerSecond: 1e9,
};

let moto: Moto;

function specOf(endpoint: string, bucket = 'chunks'): S3StoreSpec {
  return {
    kind: 's3',
    endpoint,
    region: 'eu-central-1',
    bucket,
    prefix: 'fleet/main/',
    forcePathStyle: true,
    credentials: { accessKeyId: 'AKID', secretAccessKey: SECRET, sessionToken: TOKEN },
  };
}

beforeAll(async () => {
  moto = await startMoto();
  await moto.makeBucket('chunks');
});
afterAll(() => moto?.stop());

describeBackend('S3', async () => {
  const backend = await openBackend(specOf(moto.url));
  return { backend, stop: async () => backend.close() };
});

describe('S3 behind faults', () => {
  let proxy: FaultProxy;
  let backend: ObjectBackend;
  beforeAll(async () => {
    proxy = await startFaultProxy(moto.url);
    backend = await openS3Backend(specOf(proxy.url), LIMITS);
  });
  afterAll(async () => {
    backend.close();
    await proxy.stop();
  });
  beforeEach(() => {
    proxy.decide = () => ({ kind: 'pass' });
  });

  /** The first `times` requests of this method meet the fault. */
  function fail(method: string, fault: Fault, times: number): void {
    let left = times;
    proxy.decide = (request) => {
      if (request.method !== method || left === 0) return { kind: 'pass' };
      left -= 1;
      return fault;
    };
  }

  const passing: readonly Fault[] = [
    { kind: 'status', status: 500 },
    { kind: 'status', status: 503 },
    { kind: 'status', status: 429 },
    { kind: 'hang' },
    { kind: 'lost' },
    { kind: 'truncate' },
    { kind: 'drip' },
  ];

  it.each(passing)('gets an object all the same after %j', async (fault) => {
    const body = Buffer.alloc(200_000, 'x');
    await backend.put('faults/get', body, { signal });
    const before = backend.usage.gets;
    fail('GET', fault, 2);
    expect((await backend.get('faults/get', { signal })).body.equals(body)).toBe(true);
    expect(backend.usage.gets - before).toBe(3);
  });

  it.each(passing.filter(({ kind }) => kind !== 'drip' && kind !== 'truncate'))(
    'puts an object all the same after %j',
    async (fault) => {
      const body = Buffer.from(JSON.stringify(fault));
      fail('PUT', fault, 2);
      await backend.put('faults/put', body, { signal });
      expect((await backend.get('faults/put', { signal })).body).toEqual(body);
    },
  );

  it.each(passing)('says "later" when %j does not end', async (fault) => {
    await backend.put('faults/gone', Buffer.alloc(1000, 'x'), { signal });
    fail('GET', fault, Number.POSITIVE_INFINITY);
    await expect(backend.get('faults/gone', { signal })).rejects.toThrow(StoreUnavailableError);
    await expect(collect(backend.list('faults/', { signal }))).rejects.toThrow(
      StoreUnavailableError,
    );
  });

  it('does not try again what is refused', async () => {
    const before = backend.usage.puts;
    fail('PUT', { kind: 'status', status: 403 }, 1);
    const put = backend.put('faults/refused', Buffer.from('x'), { signal });
    await expect(put).rejects.toThrow(StoreRefusedError);
    expect(backend.usage.puts - before).toBe(1);
    const other = await openS3Backend(specOf(proxy.url, 'no-such-bucket'), LIMITS);
    await expect(other.get('a', { signal })).rejects.toThrow(StoreRefusedError);
    other.close();
  });

  it('reports a condition that its own lost attempt has fulfilled as failed, for the caller to look', async () => {
    fail('PUT', { kind: 'lost' }, 1);
    const condition = { kind: 'absent' } as const;
    const put = backend.put('faults/lost', Buffer.from('mine'), { signal, condition });
    await expect(put).rejects.toThrow(ConditionFailedError);
    expect((await backend.get('faults/lost', { signal })).body.toString()).toBe('mine');
  });

  it('removes the parts of a large object that it could not complete', async () => {
    const patient = await openS3Backend(specOf(proxy.url), { ...LIMITS, requestMs: 30_000 });
    fail('PUT', { kind: 'status', status: 403 }, 1);
    const put = patient.put('faults/large', Buffer.alloc(33 * 1024 * 1024), { signal });
    await expect(put).rejects.toThrow(StoreRefusedError);
    patient.close();
    expect(proxy.seen.at(-1)).toMatchObject({ method: 'DELETE' });
    const uploads = await fetch(`${moto.url}/chunks?uploads`);
    expect(await uploads.text()).not.toContain('<UploadId>');
  });

  it('ends a hanging request by its signal', async () => {
    fail('GET', { kind: 'hang' }, Number.POSITIVE_INFINITY);
    const stop = new AbortController();
    const before = proxy.seen.length;
    const get = backend.get('faults/hang', { signal: stop.signal });
    const ended = expect(get).rejects.toThrow('no longer wanted');
    await expect.poll(() => proxy.seen.length).toBeGreaterThan(before);
    stop.abort(new Error('no longer wanted'));
    await ended;
  });

  it('refuses an endpoint that ignores conditions, or does not know them', async () => {
    proxy.decide = () => ({ kind: 'deaf' });
    await expect(backend.checkConditionalPut(signal)).rejects.toThrow(
      ConditionalPutUnsupportedError,
    );
    fail('PUT', { kind: 'status', status: 501 }, 1);
    await expect(backend.checkConditionalPut(signal)).rejects.toThrow(
      ConditionalPutUnsupportedError,
    );
    proxy.decide = () => ({ kind: 'pass' });
    await backend.checkConditionalPut(signal);
  });

  it.each([500, 403, 404, 412, 400])('keeps secrets out of errors on %i', async (status) => {
    proxy.decide = () => ({ kind: 'status', status });
    const errors = await Promise.all([
      backend.put('faults/secret', Buffer.from('x'), { signal }).catch((error) => error),
      backend.get('faults/secret', { signal }).catch((error) => error),
      backend.remove(['faults/secret'], { signal }).catch((error) => error),
    ]);
    for (const error of [...errors, backend]) {
      const told = `${inspect(error, { depth: 20, showHidden: true })} ${JSON.stringify(error)}`;
      for (const secret of [SECRET, TOKEN, 'AKID', 'AWS4-HMAC']) expect(told).not.toContain(secret);
    }
    expect(errors.every((error) => error instanceof Error)).toBe(true);
  });
});
