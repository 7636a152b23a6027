/**
 * Writers and collectors against an adversary who decides, before each operation of theirs on the
 * store, whose turn it is and how much time passes. After every step, whatever a head names has to be
 * there and whole. Two searches: every order of a small case, and random orders of larger ones.
 */
import { describe, expect, it } from 'vitest';
import { ModelBackend, ModelObjects } from '../../test/fakes/object-store/model-backend.ts';
import { VmId } from '../protocol/ids.ts';
import { CHUNK_BYTES, ChunkCodec, type ChunkRef } from './chunk-codec.ts';
import { ConditionFailedError, HeadMovedError, StaleChunkError } from './chunk-errors.ts';
import { VmChunkStore } from './chunk-store.ts';
import { collectGarbage, collectVm, removeVm } from './collect-garbage.ts';
import { toEntries } from './entries.ts';
import { decodeManifest, eachManifestRef, type Manifest } from './manifest.ts';
import { headKey, manifestKey, packKey } from './store-keys.ts';

const VM = VmId.parse('vm-1');
const OTHER = VmId.parse('vm-2');
const HOUR_MS = 3_600_000;
const GRACE = { graceMs: 6 * HOUR_MS, marginMs: HOUR_MS };
const { signal } = new AbortController();
const codec = new ChunkCodec(Buffer.alloc(32, 5));
const RANDOM_RUNS = 200;

interface Adversary {
  /** One of `count` actors that wait. */
  choose(count: number): number;
  /** How much time passes before it acts. */
  passMs(): number;
}

class World {
  readonly model = new ModelObjects();
  readonly #waiting: {
    readonly go: () => void;
    readonly operation: string;
    readonly sinceMs: number;
  }[] = [];
  #checked = '';

  readonly clock = { nowMs: () => this.model.nowMs, elapsedMs: () => this.model.nowMs };

  backend(): ModelBackend {
    const turn = (operation: string) =>
      new Promise<void>((go) => {
        this.#waiting.push({ go, operation, sinceMs: this.model.nowMs });
      });
    return new ModelBackend(this.model, turn);
  }

  store(): VmChunkStore {
    const { clock } = this;
    return new VmChunkStore({
      backend: this.backend(),
      codec,
      vmId: VM,
      signal,
      grace: GRACE,
      clock,
    });
  }

  /** Runs the actors to their ends, one operation at a time. */
  async play(actors: readonly Promise<unknown>[], adversary: Adversary): Promise<void> {
    let ended = false;
    const end = Promise.all(actors).finally(() => {
      ended = true;
    });
    end.catch(() => undefined);
    for (;;) {
      await new Promise(setImmediate);
      this.check();
      if (ended) break;
      this.model.nowMs += Math.min(adversary.passMs(), this.#leftMs());
      const [next] = this.#waiting.splice(adversary.choose(this.#waiting.length), 1);
      next?.go();
    }
    await end;
  }

  /** What the rules assume: a put of a head that takes effect does so within the margin. */
  #leftMs(): number {
    const heads = this.#waiting.filter(({ operation }) => operation === `put ${headKey(VM)}`);
    const limits = heads.map(({ sinceMs }) => sinceMs + GRACE.marginMs - 2000 - this.model.nowMs);
    return Math.max(0, Math.min(Number.MAX_SAFE_INTEGER, ...limits));
  }

  /** Packs on every step; their content whenever the head or what is there has changed. */
  check(): void {
    const { objects } = this.model;
    const head = objects.get(headKey(VM));
    if (head === undefined) return;
    const state = `${head.etag} ${objects.size}`;
    if (state === this.#checked) return;
    this.#checked = state;
    const { manifest } = JSON.parse(head.body.toString());
    const body = objects.get(manifestKey(VM, manifest))?.body;
    if (body === undefined) throw new Error('the head names a manifest that is gone');
    for (const ref of eachManifestRef(decodeManifest(codec, body, { vmId: VM }))) {
      const pack = objects.get(packKey(VM, ref.pack))?.body;
      if (pack === undefined) throw new Error('the head names a pack that is gone');
      codec.open(ref, pack.subarray(ref.offset, ref.offset + ref.length));
    }
  }
}

function manifestOf(refs: readonly ChunkRef[], generation: number): Manifest {
  const entries = toEntries(refs.map((ref) => ({ kind: 'chunk', ref })));
  return {
    format: 1,
    vmId: VM,
    jobId: null,
    epoch: 1,
    generation,
    createdAtMs: 0,
    wrappedKey: '',
    facts: null,
    memory: [{ name: 'm0', sizeBytes: refs.length * CHUNK_BYTES, entries }],
    disk: { sizeBytes: 0, entries: [] },
    deviceState: [],
    prologue: [],
  };
}

/** Publishes generation after generation, each with contents that come and go; carries old references too. */
async function write(
  store: VmChunkStore,
  generations: readonly (readonly string[])[],
): Promise<number> {
  let published = 0;
  let generation = ((await store.readHead({ signal }))?.generation ?? 0) + 1;
  for (const texts of generations) {
    const refs: ChunkRef[] = [];
    for (const text of texts) {
      refs.push(await store.add(Buffer.from(text), { signal }));
      if (text.endsWith('!')) await store.flush({ signal });
    }
    try {
      await store.publish(manifestOf(refs, generation), { signal });
      published += 1;
      generation += 1;
    } catch (error) {
      if (error instanceof HeadMovedError || error instanceof ConditionFailedError)
        return published;
      if (!(error instanceof StaleChunkError)) throw error;
    }
  }
  return published;
}

async function collect(backend: ModelBackend, times: number): Promise<number> {
  let taken = 0;
  for (let n = 0; n < times; n += 1) {
    for (const { packs, failure } of await collectGarbage({
      backend,
      graceMs: GRACE.graceMs,
      signal,
    })) {
      if (failure !== undefined) throw failure;
      taken += packs;
    }
  }
  return taken;
}

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Mostly little time passes, at times about the lengths that the rules are about. */
function randomAdversary(seed: number): Adversary {
  const next = random(seed);
  const { graceMs, marginMs } = GRACE;
  const leaps = [
    graceMs / 2 - 1,
    graceMs / 2,
    graceMs - marginMs,
    graceMs,
    graceMs + 1,
    marginMs / 3,
  ];
  return {
    choose: (count) => Math.floor(next() * count),
    passMs: () =>
      next() < 0.2 ? (leaps[Math.floor(next() * leaps.length)] ?? 0) * next() * 1.2 : 1000 * next(),
  };
}

describe('collectGarbage beside writers', () => {
  it('leaves every published state whole, in random orders', async () => {
    let published = 0;
    let taken = 0;
    for (let seed = 1; seed <= RANDOM_RUNS; seed += 1) {
      const world = new World();
      const next = random(seed * 7919);
      const letters = () => ['a', 'b!', 'c', 'd!', 'e'].filter(() => next() < 0.5);
      const generations = Array.from({ length: 6 }, letters);
      const actors = [
        write(world.store(), generations),
        write(world.store(), generations.toReversed()),
        collect(world.backend(), 3),
        collect(world.backend(), 2),
      ] as const;
      await world.play(actors, randomAdversary(seed)).catch((cause) => {
        throw new Error(`seed ${seed}`, { cause });
      });
      published += (await actors[0]) + (await actors[1]);
      taken += (await actors[2]) + (await actors[3]);
    }
    expect(published).toBeGreaterThan(RANDOM_RUNS);
    expect(taken).toBeGreaterThan(RANDOM_RUNS / 4);
  });

  it('leaves every published state whole, in every order of two reuses and one collection', async () => {
    let orders = 0;
    for (const leapAt of Array.from({ length: 12 }, (_, n) => n)) {
      const path: number[] = [];
      do {
        const world = new World();
        await prepare(world);
        await world.play(
          [reuse(world), collect(world.backend(), 1)],
          follow(path, { leapAt, leapMs: GRACE.marginMs * 2 }),
        );
        orders += 1;
      } while (advance(path));
    }
    expect(orders).toBeGreaterThan(1000);
  });
});

const AT_ONCE: Adversary = { choose: () => 0, passMs: () => 0 };
const writers = new WeakMap<World, { store: VmChunkStore; loose: ChunkRef; held: ChunkRef }>();

/** A head, and a loose chunk that its writer still knows, almost too old to be used. */
async function prepare(world: World): Promise<void> {
  const store = world.store();
  const begin = async () => {
    const held = await store.add(Buffer.from('held'), { signal });
    await store.publish(manifestOf([held], 1), { signal });
    const loose = await store.add(Buffer.from('loose'), { signal });
    await store.flush({ signal });
    writers.set(world, { store, loose, held });
  };
  await world.play([begin()], AT_ONCE);
  world.model.nowMs += GRACE.graceMs - GRACE.marginMs - 1000;
}

async function reuse(world: World): Promise<void> {
  const writer = writers.get(world);
  if (writer === undefined) return;
  const { store, loose, held } = writer;
  for (const manifest of [manifestOf([held, loose], 2), manifestOf([loose], 3)]) {
    await store.publish(manifest, { signal }).catch((error: unknown) => {
      if (!(error instanceof StaleChunkError)) throw error;
    });
  }
}

/** Repeats a path of choices and extends it by first choices; `path` holds choice and count, in pairs. */
function follow(path: number[], { leapAt, leapMs }: { leapAt: number; leapMs: number }): Adversary {
  let step = 0;
  return {
    choose: (count) => {
      const chosen = path[step * 2] ?? 0;
      path[step * 2] = chosen;
      path[step * 2 + 1] = count;
      return chosen;
    },
    passMs: () => (step++ === leapAt ? leapMs : 1),
  };
}

/** The next path in order; false after the last. */
function advance(path: number[]): boolean {
  while (path.length > 0) {
    const count = path.pop() ?? 0;
    const chosen = (path.pop() ?? 0) + 1;
    if (chosen < count) {
      path.push(chosen, count);
      return true;
    }
  }
  return false;
}

describe('collectGarbage', () => {
  async function twoGenerations(): Promise<{ world: World; backend: ModelBackend }> {
    const world = new World();
    await world.play([write(world.store(), [['a'], ['b']])], AT_ONCE);
    return { world, backend: new ModelBackend(world.model) };
  }

  it('takes what nobody names any more, and only that', async () => {
    const { world, backend } = await twoGenerations();
    expect(await collect(backend, 1)).toBe(0);
    world.model.nowMs += GRACE.graceMs + 1000;
    const before = new Set(world.model.objects.keys());
    const reports = await collectGarbage({ backend, graceMs: GRACE.graceMs, signal });
    expect(reports).toEqual([{ vmId: VM, packs: 1, manifests: 1 }]);
    expect(before.size - world.model.objects.size).toBe(2);
    world.check();
  });

  it('leaves a VM alone whose head cannot be read, and goes on with the others', async () => {
    const { world, backend } = await twoGenerations();
    world.model.nowMs += GRACE.graceMs + 1000;
    const stray = packKey(OTHER, '0'.repeat(32));
    await backend.put(stray, Buffer.from('x'), { signal });
    world.model.nowMs += GRACE.graceMs + 1000;
    await backend.put(headKey(VM), Buffer.from('nonsense'), { signal });
    const before = [...world.model.objects.keys()].filter((key) => key.includes('/vm-1/'));
    const reports = await collectGarbage({ backend, graceMs: GRACE.graceMs, signal });
    expect(reports[0]?.failure?.code).toBe('MANIFEST_DAMAGED');
    expect(reports[1]).toEqual({ vmId: OTHER, packs: 1, manifests: 0 });
    expect([...world.model.objects.keys()].filter((key) => key.includes('/vm-1/'))).toEqual(before);
  });

  it('takes one VM at a time, or an ended one whole, and no other', async () => {
    const { world, backend } = await twoGenerations();
    const foreign = packKey(OTHER, '0'.repeat(32));
    await backend.put(foreign, Buffer.from('x'), { signal });
    world.model.nowMs += GRACE.graceMs + 1000;
    expect(await collectVm({ backend, graceMs: GRACE.graceMs, signal }, VM)).toMatchObject({
      packs: 1,
    });
    await removeVm({ backend, signal }, VM);
    const left = [...world.model.objects.keys()].filter((key) => key.startsWith('vms/'));
    expect(left).toEqual([foreign]);
    await removeVm({ backend, signal }, VM);
  });
});
