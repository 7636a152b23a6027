import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { ModelBackend, ModelObjects } from '../../test/fakes/object-store/model-backend.ts';
import { VmId } from '../protocol/ids.ts';
import { CHUNK_BYTES, ChunkCodec, type ChunkRef } from './chunk-codec.ts';
import {
  HeadMovedError,
  ManifestDamagedError,
  StaleChunkError,
  StoreUnavailableError,
} from './chunk-errors.ts';
import type { ChunkOutcome } from './chunk-reader.ts';
import { VmChunkStore } from './chunk-store.ts';
import { toEntries } from './entries.ts';
import { readHeadHeader } from './head.ts';
import type { Manifest } from './manifest.ts';
import { MAX_HELD_PACKS } from './pack-uploads.ts';
import { headKey, packKey } from './store-keys.ts';

const VM = VmId.parse('vm-1');
const HOUR_MS = 3_600_000;
const GRACE = { graceMs: 6 * HOUR_MS, marginMs: HOUR_MS };
const { signal } = new AbortController();
const codec = new ChunkCodec(Buffer.alloc(32, 9));

let world: ModelObjects;
let backend: ModelBackend;
let elapsedMs: number;

beforeEach(() => {
  world = new ModelObjects();
  backend = new ModelBackend(world);
  elapsedMs = 0;
});

function open(): VmChunkStore {
  const clock = { nowMs: () => world.nowMs, elapsedMs: () => elapsedMs };
  return new VmChunkStore({ backend, codec, vmId: VM, signal, grace: GRACE, clock });
}

function pass(ms: number): void {
  world.nowMs += ms;
  elapsedMs += ms;
}

function manifestOf(
  refs: readonly ChunkRef[],
  point: { epoch?: number; generation: number },
): Manifest {
  return {
    format: 1,
    vmId: VM,
    jobId: null,
    epoch: 1,
    createdAtMs: 0,
    wrappedKey: '',
    facts: null,
    memory: [
      {
        name: 'm0',
        sizeBytes: refs.length * CHUNK_BYTES,
        entries: toEntries(refs.map((ref) => ({ kind: 'chunk', ref }))),
      },
    ],
    disk: { sizeBytes: 0, entries: [] },
    deviceState: [],
    prologue: [],
    ...point,
  };
}

async function readAll(store: VmChunkStore, refs: readonly ChunkRef[]) {
  const outcomes: (readonly [ChunkRef, ChunkOutcome])[] = [];
  const summary = await store.read(refs, {
    signal,
    onChunk: (ref, outcome) => void outcomes.push([ref, outcome]),
  });
  const contentOf = (ref: ChunkRef) => {
    const outcome = outcomes.find(([one]) => one === ref)?.[1];
    return outcome?.kind === 'read' ? outcome.content.toString() : outcome?.kind;
  };
  return { summary, contents: refs.map(contentOf), count: outcomes.length };
}

async function addAll(store: VmChunkStore, texts: readonly string[]): Promise<ChunkRef[]> {
  return Promise.all(texts.map((text) => store.add(Buffer.from(text), { signal })));
}

function corrupt(ref: ChunkRef): void {
  const object = world.objects.get(packKey(VM, ref.pack));
  const at = ref.offset + 20;
  object?.body.writeUInt8(object.body.readUInt8(at) ^ 1, at);
}

describe('VmChunkStore', () => {
  it('publishes what another process reads back', async () => {
    const writer = open();
    expect(await writer.readHead({ signal })).toBeUndefined();
    const refs = await addAll(writer, ['a', 'b', 'c']);
    const manifest = manifestOf(refs, { generation: 1 });
    await writer.publish(manifest, { signal });
    const reader = open();
    expect(await reader.readHead({ signal })).toEqual(manifest);
    expect((await readAll(reader, refs)).contents).toEqual(['a', 'b', 'c']);
    const found = await readHeadHeader(backend, VM, { signal });
    expect(found?.header.packs).toEqual([refs[0]?.pack]);
  });

  it('gives whatever else waits a turn after each chunk', async () => {
    const store = open();
    const refs = await addAll(store, ['a', 'b', 'c', 'd']);
    await store.flush({ signal });
    let [turns, isOver] = [0, false];
    const count = () => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    const seen: number[] = [];
    await store.read(refs, { signal, onChunk: () => void seen.push(turns) });
    isOver = true;
    expect(new Set(seen).size).toBe(refs.length);
  });

  it('stores equal content once, also across processes by way of the head', async () => {
    const writer = open();
    const refs = await addAll(writer, ['a', 'b', 'a']);
    expect(refs[2]).toBe(refs[0]);
    await writer.publish(manifestOf(refs, { generation: 1 }), { signal });
    const next = open();
    await next.readHead({ signal });
    const before = backend.usage.puts;
    expect(await addAll(next, ['a', 'b'])).toEqual(refs.slice(0, 2));
    await next.flush({ signal });
    expect(backend.usage.puts).toBe(before);
  });

  it('reads what is not stored yet from memory', async () => {
    const store = open();
    const refs = await addAll(store, ['a', 'b']);
    expect((await readAll(store, refs)).contents).toEqual(['a', 'b']);
  });

  it('cuts packs by size and sends them on its own', async () => {
    const store = open();
    for (let n = 0; n < 600; n += 1) await store.add(randomBytes(CHUNK_BYTES), { signal });
    await store.flush({ signal });
    expect(backend.usage.puts).toBe(3);
  });

  it('stores anew what is in the older half of the grace time, and not what is younger', async () => {
    const store = open();
    const [first] = await addAll(store, ['a']);
    await store.flush({ signal });
    pass(GRACE.graceMs / 2 - 1);
    expect((await addAll(store, ['a']))[0]).toBe(first);
    pass(1);
    const [again] = await addAll(store, ['a']);
    expect(again).toMatchObject({ name: first?.name });
    expect(again?.pack).not.toBe(first?.pack);
  });

  it('publishes no chunk that may be collected first, unless the head holds it', async () => {
    const store = open();
    const held = await addAll(store, ['held']);
    await store.publish(manifestOf(held, { generation: 1 }), { signal });
    const loose = await addAll(store, ['loose']);
    await store.flush({ signal });
    pass(GRACE.graceMs - GRACE.marginMs);
    const both = manifestOf([...held, ...loose], { generation: 2 });
    await expect(store.publish(both, { signal })).rejects.toThrow(StaleChunkError);
    await store.publish(manifestOf(held, { generation: 2 }), { signal });
    const again = await addAll(store, ['loose']);
    await store.publish(manifestOf([...held, ...again], { generation: 3 }), { signal });
  });

  it('believes the clock that says a pack is older: a jump makes it cautious', async () => {
    const store = open();
    const refs = await addAll(store, ['a']);
    await store.flush({ signal });
    world.nowMs += GRACE.graceMs;
    await expect(store.publish(manifestOf(refs, { generation: 1 }), { signal })).rejects.toThrow(
      StaleChunkError,
    );
  });

  it('never moves the head backwards', async () => {
    const store = open();
    const refs = await addAll(store, ['a']);
    const publish = (epoch: number, generation: number) =>
      store.publish(manifestOf(refs, { epoch, generation }), { signal });
    await publish(2, 1);
    await expect(publish(2, 1)).rejects.toThrow(HeadMovedError);
    await expect(publish(2, 0)).rejects.toThrow(HeadMovedError);
    await expect(publish(1, 9)).rejects.toThrow(HeadMovedError);
    await publish(3, 0);
  });

  it('does not overtake another writer whose head it has not seen', async () => {
    const [source, target] = [open(), open()];
    const old = await addAll(source, ['old']);
    await source.publish(manifestOf(old, { epoch: 1, generation: 1 }), { signal });
    await target.readHead({ signal });
    const fresh = await addAll(target, ['fresh']);
    await target.publish(manifestOf(fresh, { epoch: 2, generation: 0 }), { signal });
    const late = manifestOf(old, { epoch: 1, generation: 2 });
    await expect(source.publish(late, { signal })).rejects.toThrow(HeadMovedError);
    expect((await open().readHead({ signal }))?.epoch).toBe(2);
  });

  it('finds out that a publication whose answer was lost has happened', async () => {
    const store = open();
    const manifest = manifestOf(await addAll(store, ['a']), { generation: 1 });
    const put = backend.put.bind(backend);
    backend.put = async (key, body, options) => {
      const done = await put(key, body, options);
      if (key === headKey(VM)) throw new StoreUnavailableError('lost');
      return done;
    };
    await expect(store.publish(manifest, { signal })).rejects.toThrow(StoreUnavailableError);
    backend.put = put;
    await store.publish(manifest, { signal });
    expect(await open().readHead({ signal })).toEqual(manifest);
    await store.publish({ ...manifest, generation: 2 }, { signal });
  });

  it('shows nothing of a generation that could not be completed', async () => {
    const store = open();
    const first = manifestOf(await addAll(store, ['a']), { generation: 1 });
    await store.publish(first, { signal });
    const second = manifestOf(await addAll(store, ['b']), { generation: 2 });
    for (const step of ['packs/', 'manifests/', 'head']) {
      backend.fail = (operation, key) => {
        if (operation === 'put' && key.includes(step)) throw new StoreUnavailableError('down');
      };
      await expect(store.publish(second, { signal })).rejects.toThrow(StoreUnavailableError);
      expect(await open().readHead({ signal })).toEqual(first);
    }
    backend.fail = () => undefined;
    await store.publish(second, { signal });
    const refs = second.memory[0]?.entries[0];
    expect(refs?.kind === 'chunks' && (await readAll(open(), refs.refs)).contents).toEqual(['b']);
  });

  it('holds only so much while the store is down, and stores it when it is back', async () => {
    const store = open();
    backend.fail = () => {
      throw new StoreUnavailableError('down');
    };
    const refs: ChunkRef[] = [];
    const fill = async () => {
      for (let n = 0; n < 256 * MAX_HELD_PACKS; n += 1) {
        refs.push(await store.add(randomBytes(CHUNK_BYTES), { signal }));
      }
    };
    await expect(fill()).rejects.toThrow(StoreUnavailableError);
    await expect(store.flush({ signal })).rejects.toThrow(StoreUnavailableError);
    backend.fail = () => undefined;
    await store.publish(manifestOf(refs, { generation: 1 }), { signal });
    expect((await readAll(open(), refs)).summary).toEqual({ read: refs.length, failed: [] });
  });

  it('reports what is damaged, missing or not to be had, chunk by chunk', async () => {
    const store = open();
    const refs: ChunkRef[] = [];
    for (const text of ['good', 'bad']) {
      refs.push(...(await addAll(store, [text])));
    }
    await store.flush({ signal });
    refs.push(...(await addAll(store, ['gone'])));
    await store.flush({ signal });
    const [, bad, gone] = refs;
    if (bad === undefined || gone === undefined) throw new Error('no chunks');
    corrupt(bad);
    world.objects.delete(packKey(VM, gone.pack));
    const reader = open();
    const { contents, summary, count } = await readAll(reader, refs);
    expect(contents).toEqual(['good', 'damaged', 'missing']);
    expect(summary.failed.map(({ kind }) => kind).toSorted()).toEqual(['damaged', 'missing']);
    expect(count).toBe(3);
    backend.fail = () => {
      throw new StoreUnavailableError('down');
    };
    expect((await readAll(reader, refs)).contents).toEqual(Array(3).fill('unavailable'));
  });

  it('fetches a damaged chunk once more, alone', async () => {
    const store = open();
    const refs = await addAll(store, ['a', 'b', 'c']);
    await store.flush({ signal });
    const get = backend.get.bind(backend);
    let spoilt = 0;
    backend.get = async (key, options) => {
      const got = await get(key, options);
      if (spoilt++ > 0) return got;
      return { ...got, body: Buffer.from(got.body).fill(0, 0, 30) };
    };
    expect((await readAll(open(), refs)).contents).toEqual(['a', 'b', 'c']);
    expect(spoilt).toBe(2);
  });

  it('ends a read by its signal, and by what its caller throws', async () => {
    const store = open();
    const refs = await addAll(store, ['a', 'b']);
    await store.flush({ signal });
    const stop = AbortSignal.abort(new Error('enough'));
    const nothing = () => undefined;
    await expect(open().read(refs, { signal: stop, onChunk: nothing })).rejects.toThrow('enough');
    const onChunk = () => Promise.reject(new Error('no room'));
    await expect(open().read(refs, { signal, onChunk })).rejects.toThrow('no room');
  });

  it('does not start from a head or manifest that is damaged or swapped', async () => {
    const store = open();
    await store.publish(manifestOf(await addAll(store, ['a']), { generation: 1 }), { signal });
    const head = world.objects.get(headKey(VM));
    if (head === undefined) throw new Error('no head');
    world.objects.set(headKey(VM), { ...head, body: Buffer.from('{}') });
    await expect(open().readHead({ signal })).rejects.toThrow(ManifestDamagedError);
    world.objects.set(headKey(VM), head);
    for (const key of world.objects.keys())
      if (key.includes('manifests/')) world.objects.delete(key);
    await expect(open().readHead({ signal })).rejects.toThrow(ManifestDamagedError);
  });
});
