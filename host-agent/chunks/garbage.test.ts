import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseManifests, choosePacks, type Dated } from './garbage.ts';
import { manifestName } from './store-keys.ts';

const NOW_MS = 1_000_000;
const GRACE_MS = 1000;

function manifest(generation: number, ageMs: number, { epoch = 1 } = {}): Dated {
  const name = manifestName({ epoch, generation }, Buffer.alloc(8, generation));
  return { name, modifiedAtMs: NOW_MS - ageMs };
}

function choose(head: Dated | undefined, manifests: readonly Dated[]) {
  return chooseManifests({ head: head?.name, manifests, nowMs: NOW_MS, graceMs: GRACE_MS });
}

describe('chooseManifests', () => {
  const [first, second, third] = [manifest(1, 9000), manifest(2, 5000), manifest(3, 500)];

  it('keeps the head however old it is, and takes what was replaced long ago', () => {
    const old = manifest(3, 3000);
    expect(choose(old, [first, second, old])).toEqual({
      live: [old.name],
      deletable: [second.name, first.name],
    });
  });

  it('keeps what was the head until lately, and not what came before it', () => {
    expect(choose(third, [first, second, third])).toEqual({
      live: [third.name, second.name],
      deletable: [first.name],
    });
  });

  it('keeps what may be about to become the head, and takes it when it is old', () => {
    const next = manifest(4, 10);
    expect(choose(third, [third, next])).toEqual({ live: [third.name], deletable: [] });
    const never = manifest(0, 2000, { epoch: 2 });
    expect(choose(third, [third, never]).deletable).toEqual([never.name]);
  });

  it('takes by age only when nothing was published', () => {
    expect(choose(undefined, [first, third])).toEqual({ live: [], deletable: [first.name] });
  });

  it('does not need the head to be in the list', () => {
    expect(choose(third, [second])).toEqual({ live: [third.name, second.name], deletable: [] });
  });

  it('never takes the head, nor anything young', () => {
    const one = fc
      .tuple(fc.nat(20), fc.nat(3000), fc.integer({ min: 1, max: 3 }))
      .map(([generation, age, epoch]) => manifest(generation, age, { epoch }));
    const lists = fc.uniqueArray(one, { selector: ({ name }) => name, minLength: 1 });
    fc.assert(
      fc.property(lists, fc.nat(), (manifests, pick) => {
        const head = manifests[pick % manifests.length];
        const { deletable } = choose(head, manifests);
        expect(deletable).not.toContain(head?.name);
        const young = manifests.filter(({ modifiedAtMs }) => NOW_MS - modifiedAtMs <= GRACE_MS);
        expect(young.filter(({ name }) => deletable.includes(name))).toEqual([]);
      }),
    );
  });
});

describe('choosePacks', () => {
  it('takes what is old and named by nobody', () => {
    const pack = (name: string, ageMs: number) => ({ name, modifiedAtMs: NOW_MS - ageMs });
    const packs = [pack('old-named', 5000), pack('old', 1001), pack('edge', 1000), pack('new', 1)];
    const named = new Set(['old-named']);
    expect(choosePacks({ packs, named, nowMs: NOW_MS, graceMs: GRACE_MS })).toEqual(['old']);
  });
});
