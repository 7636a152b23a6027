/** What every ObjectBackend does, whatever it stands on. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ConditionFailedError,
  ObjectMissingError,
} from '../../../host-agent/chunks/chunk-errors.ts';
import type { ListedObject, ObjectBackend } from '../../../host-agent/chunks/object-backend.ts';
import { ObjectKeyError } from '../../../host-agent/chunks/object-key.ts';
import { collect } from './collect.ts';

export interface BackendFixture {
  readonly backend: ObjectBackend;
  stop(): Promise<void>;
}

const MIB = 1024 * 1024;
const { signal } = new AbortController();
const ABSENT = { signal, condition: { kind: 'absent' } } as const;

export function describeBackend(name: string, start: () => Promise<BackendFixture>): void {
  describe(`${name} as an object backend`, () => {
    let fixture: BackendFixture;
    beforeAll(async () => {
      fixture = await start();
    });
    afterAll(() => fixture.stop());
    const backend = () => fixture.backend;
    describe('objects', () => objects(backend));
    describe('conditions', () => conditions(backend));
    describe('limits', () => limits(backend));
  });
}

function objects(backend: () => ObjectBackend): void {
  it('come back as they were put, and are replaced whole', async () => {
    const body = randomBytes(100_000);
    const put = await backend().put('objects/a', body, { signal });
    expect(await backend().get('objects/a', { signal })).toEqual({ body, etag: put.etag });
    await backend().put('objects/a', Buffer.from('short'), { signal });
    const { body: after, etag } = await backend().get('objects/a', { signal });
    expect(after.toString()).toBe('short');
    expect(etag).not.toBe(put.etag);
  });

  it('may be empty', async () => {
    await backend().put('objects/empty', Buffer.alloc(0), { signal });
    expect((await backend().get('objects/empty', { signal })).body).toHaveLength(0);
  });

  it('are read by ranges, as far as there is anything', async () => {
    await backend().put('objects/range', Buffer.from('0123456789'), { signal });
    const read = async (offset: number, length: number) => {
      const { body } = await backend().get('objects/range', { signal, range: { offset, length } });
      return body.toString();
    };
    expect(await read(2, 3)).toBe('234');
    expect(await read(8, 100)).toBe('89');
    expect(await read(10, 1)).toBe('');
    expect(await read(3, 0)).toBe('');
  });

  it('may be larger than one request takes', async () => {
    const body = randomBytes(33 * MIB);
    const { etag } = await backend().put('objects/large', body, ABSENT);
    const got = await backend().get('objects/large', { signal });
    expect(got.etag).toBe(etag);
    expect(got.body.equals(body)).toBe(true);
    await expect(backend().put('objects/large', body, ABSENT)).rejects.toThrow(
      ConditionFailedError,
    );
  });

  it('are missing by a typed error', async () => {
    await expect(backend().get('objects/none', { signal })).rejects.toThrow(ObjectMissingError);
    await expect(backend().get('none/at/all', { signal })).rejects.toThrow(ObjectMissingError);
  });

  it('are listed by prefix, with size and time, folder by folder', async () => {
    const keys = ['list/b/2', 'list/a/1', 'list/a/2', 'list/ab'];
    for (const key of keys) await backend().put(key, Buffer.from(key), { signal });
    const listed = await collect(backend().list('list/', { signal }));
    expect(listed.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
    for (const { key, sizeBytes } of listed) expect(sizeBytes).toBe(key.length);
    const newest = Math.max(...listed.map(({ modifiedAtMs }) => modifiedAtMs));
    expect(Math.abs(newest - Date.now())).toBeLessThan(60_000);
    expect(keysOf(await collect(backend().list('list/a', { signal })))).toHaveLength(3);
    expect(keysOf(await collect(backend().list('list/a/', { signal })))).toHaveLength(2);
    expect(await collect(backend().list('list/none/', { signal }))).toEqual([]);
  });

  it('are listed beyond one page', async () => {
    const keys = Array.from({ length: 1003 }, (_, n) => `pages/${n}`);
    for (const key of keys) await backend().put(key, Buffer.from('x'), { signal });
    expect(keysOf(await collect(backend().list('pages/', { signal }))).toSorted()).toEqual(
      keys.toSorted(),
    );
    await backend().remove(keys, { signal });
    expect(await collect(backend().list('pages/', { signal }))).toEqual([]);
  });

  it('are removed, also when they are gone already', async () => {
    await backend().put('remove/a', Buffer.from('a'), { signal });
    await backend().put('remove/b', Buffer.from('b'), { signal });
    await backend().remove(['remove/a', 'remove/never'], { signal });
    expect(keysOf(await collect(backend().list('remove/', { signal })))).toEqual(['remove/b']);
    await backend().remove(['remove/b'], { signal });
    await backend().remove([], { signal });
    await backend().put('remove/a', Buffer.from('again'), { signal });
    expect((await backend().get('remove/a', { signal })).body.toString()).toBe('again');
  });
}

function conditions(backend: () => ObjectBackend): void {
  it('absent: only the first put happens', async () => {
    await backend().put('conditions/a', Buffer.from('first'), ABSENT);
    await expect(backend().put('conditions/a', Buffer.from('second'), ABSENT)).rejects.toThrow(
      ConditionFailedError,
    );
    expect((await backend().get('conditions/a', { signal })).body.toString()).toBe('first');
  });

  it('matches: only on what was seen, which must still be there', async () => {
    const first = await backend().put('conditions/b', Buffer.from('1'), { signal });
    const onFirst = { signal, condition: { kind: 'matches', etag: first.etag } } as const;
    const second = await backend().put('conditions/b', Buffer.from('2'), onFirst);
    expect(second.etag).not.toBe(first.etag);
    await expect(backend().put('conditions/b', Buffer.from('3'), onFirst)).rejects.toThrow(
      ConditionFailedError,
    );
    await backend().remove(['conditions/b'], { signal });
    const onSecond = { signal, condition: { kind: 'matches', etag: second.etag } } as const;
    await expect(backend().put('conditions/b', Buffer.from('4'), onSecond)).rejects.toThrow(
      ConditionFailedError,
    );
    await expect(backend().get('conditions/b', { signal })).rejects.toThrow(ObjectMissingError);
  });

  it('are found to be honoured, and the probe leaves nothing', async () => {
    await backend().checkConditionalPut(signal);
    expect(await collect(backend().list('conditional-put-probe/', { signal }))).toEqual([]);
  });
}

function limits(backend: () => ObjectBackend): void {
  it.each(['', '/a', 'a/', 'a//b', '../a', 'a/../b', 'a/.b', 'a\0', 'ä', 'a b', 'x'.repeat(513)])(
    'refuses the key %j',
    async (key) => {
      await expect(backend().get(key, { signal })).rejects.toThrow(ObjectKeyError);
      await expect(backend().put(key, Buffer.from('x'), { signal })).rejects.toThrow(
        ObjectKeyError,
      );
      await expect(backend().remove([key], { signal })).rejects.toThrow(ObjectKeyError);
    },
  );

  it('ends by its signal, with its reason', async () => {
    const stop = AbortSignal.abort(new Error('enough'));
    const body = Buffer.from('x');
    await expect(backend().put('limits/a', body, { signal: stop })).rejects.toThrow('enough');
    await expect(backend().get('limits/a', { signal: stop })).rejects.toThrow('enough');
    await expect(collect(backend().list('limits/', { signal: stop }))).rejects.toThrow('enough');
  });

  it('counts requests and bytes', async () => {
    const before = backend().usage;
    await backend().put('limits/count', Buffer.alloc(10), { signal });
    await backend().get('limits/count', { signal, range: { offset: 0, length: 4 } });
    await collect(backend().list('limits/', { signal }));
    await backend().remove(['limits/count'], { signal });
    expect(backend().usage).toEqual({
      puts: before.puts + 1,
      gets: before.gets + 1,
      lists: before.lists + 1,
      removes: before.removes + 1,
      bytesUp: before.bytesUp + 10,
      bytesDown: before.bytesDown + 4,
    });
  });
}

function keysOf(listed: readonly ListedObject[]): string[] {
  return listed.map(({ key }) => key);
}
