/**
 * What may be deleted of one VM, as a pure function. grace.ts says why it is safe beside writers.
 *
 * A manifest lives when it is the head's, and for the grace time after it stopped being so: whoever
 * began to read it can finish. A manifest beyond the head may be about to become it, so it goes by age
 * only. A pack goes when no live manifest names it and it is older than the grace time.
 */
import { isNewer, type Point } from './manifest.ts';
import { parseManifestName } from './store-keys.ts';

export interface Dated {
  /** The manifest's name or the pack's id. */
  readonly name: string;
  /** By the store's clock. */
  readonly modifiedAtMs: number;
}

interface Times {
  /** The store's clock, read before the head was. */
  readonly nowMs: number;
  readonly graceMs: number;
}

export interface ManifestChoice {
  /** Their packs stay; the head's first. */
  readonly live: readonly string[];
  readonly deletable: readonly string[];
}

/** `head` is the head's manifest; undefined before anything was published. */
export function chooseManifests(
  given: Times & { readonly head: string | undefined; readonly manifests: readonly Dated[] },
): ManifestChoice {
  const { head, manifests, nowMs, graceMs } = given;
  const isOld = ({ modifiedAtMs }: Dated) => nowMs - modifiedAtMs > graceMs;
  const headPoint = head === undefined ? undefined : parseManifestName(head);
  const past = manifests
    .filter(({ name }) => name !== head && isBefore(name, headPoint))
    .toSorted((a, b) => (a.name < b.name ? 1 : -1));
  const headDated = manifests.find(({ name }) => name === head);
  const live = head === undefined ? [] : [head];
  const deletable = manifests
    .filter((one) => one.name !== head && !isBefore(one.name, headPoint) && isOld(one))
    .map(({ name }) => name);
  let successor = headDated;
  for (const manifest of past) {
    const wasHeadLately = successor === undefined || !isOld(successor);
    if (wasHeadLately || !isOld(manifest)) live.push(manifest.name);
    else deletable.push(manifest.name);
    successor = manifest;
  }
  return { live, deletable };
}

/** `named` are the packs of all live manifests. */
export function choosePacks(
  given: Times & { readonly packs: readonly Dated[]; readonly named: ReadonlySet<string> },
): string[] {
  const { packs, named, nowMs, graceMs } = given;
  return packs
    .filter(({ name, modifiedAtMs }) => !named.has(name) && nowMs - modifiedAtMs > graceMs)
    .map(({ name }) => name);
}

/** An unreadable name is never before anything. */
function isBefore(name: string, head: Point | undefined): boolean {
  const point = parseManifestName(name);
  return head !== undefined && point !== undefined && !isNewer(point, head);
}
