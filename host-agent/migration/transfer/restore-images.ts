/** Fills images from a manifest alone: a VM that was parked, or goes back to its checkpoint. */

import { type Entries, eachEntry } from '../../chunks/entries.ts';
import { ArchitectError } from '../../protocol/errors.ts';
import { type Area, areasOf, type VmImages } from './areas.ts';
import { Arrivals } from './arrivals.ts';
import { ChunkFiller, type ChunkSource, type FillLimits } from './chunk-filler.ts';

/** Nobody else has what the store does not give: it gets more time than during a move. */
export const RESTORE_LIMITS: FillLimits = {
  batchChunks: 1024,
  batches: 2,
  stallMs: 60_000,
  storeMs: 15 * 60_000,
  failuresInARow: 1,
};

/** The store does not have, or does not give, all of a VM. It can be tried again. */
export class RestoreError extends ArchitectError {
  readonly code = 'RESTORE';
  readonly retry = 'later';
}

/** The part of a manifest that is filled in here (chunks/manifest.ts). */
export interface StoredImages {
  readonly memory: readonly {
    readonly name: string;
    readonly sizeBytes: number;
    readonly entries: Entries;
  }[];
  readonly disk: { readonly sizeBytes: number; readonly entries: Entries };
}

export interface RestoreRequest {
  /** Of the manifest's blocks in their order, all as in base. */
  readonly images: VmImages;
  readonly stored: StoredImages;
  readonly source: ChunkSource;
  readonly signal: AbortSignal;
  readonly onFilled?: () => void;
  readonly limits?: FillLimits;
}

/**
 * Resolves with the bytes that the store gave. Rejects with RestoreError, at the first chunk that is
 * not to be had or when the signal aborts; the images are of no use then.
 */
export async function restoreImages(request: RestoreRequest): Promise<number> {
  const { images, stored, source, signal } = request;
  const places = [...stored.memory, { name: 'disk', ...stored.disk }];
  const areas = areasOf(images);
  if (!areas.every((area, at) => isPlaceOf(area, places[at])) || areas.length !== places.length) {
    throw new RestoreError("The manifest's machine is not the one to be restored.");
  }
  const arrivals = new Arrivals(areas);
  const done = Promise.withResolvers<void>();
  let bytes = 0;
  let isAsked = false;
  const filler = new ChunkFiller({
    ...{ source, arrivals, limits: request.limits ?? RESTORE_LIMITS },
    onFilled: (more) => {
      bytes += more;
      request.onFilled?.();
      if (isAsked && filler.left === 0) done.resolve();
    },
    onMissing: (area, range) => done.reject(unavailable(area, range)),
    onBroken: (cause) => done.reject(new RestoreError('The images cannot be written.', { cause })),
  });
  const stop = () => done.reject(new RestoreError('The restoring of a VM was given up.'));
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  try {
    await Promise.race([done.promise, layOut({ areas, places, arrivals, filler })]);
    isAsked = true;
    if (filler.left === 0) done.resolve();
    await done.promise;
    await arrivals.settled();
    request.onFilled?.();
    return bytes;
  } finally {
    filler.stop();
    signal.removeEventListener('abort', stop);
  }
}

async function layOut(given: {
  readonly areas: readonly Area[];
  readonly places: readonly { readonly entries: Entries }[];
  readonly arrivals: Arrivals;
  readonly filler: ChunkFiller;
}): Promise<void> {
  for (const [at, area] of given.areas.entries()) {
    let range = 0;
    for (const entry of eachEntry(given.places[at]?.entries ?? [])) {
      if (entry.kind === 'zero') await given.arrivals.layoutZero(area, range);
      else if (entry.kind === 'chunk') given.filler.add({ area, range, ref: entry.ref });
      range += 1;
    }
    if (range !== area.ranges) throw new RestoreError(`The manifest does not cover ${area.name}.`);
  }
}

function isPlaceOf(
  area: Area,
  place: { readonly name: string; readonly sizeBytes: number } | undefined,
): boolean {
  return place !== undefined && place.name === area.name && place.sizeBytes === area.sizeBytes;
}

function unavailable(area: Area, range: number): RestoreError {
  return new RestoreError('A chunk that the manifest names cannot be had from the store.', {
    context: { area: area.name, range },
  });
}
