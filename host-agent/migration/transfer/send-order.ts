/** Which ranges go first: what changes often goes last, since it would have to go again. Pure. */
export interface PendingRange {
  readonly area: number;
  readonly range: number;
  readonly heat: number;
}

/** Coldest first; among equals in the order of the area, so that neighbours travel together. */
export function orderColdestFirst(pending: readonly PendingRange[]): readonly PendingRange[] {
  return pending.toSorted((a, b) => a.heat - b.heat || a.area - b.area || a.range - b.range);
}

/** The ranges of marked units, each once. `units` ascending. */
export function rangesOf(units: Iterable<number>, unitsPerRange: number): readonly number[] {
  const ranges: number[] = [];
  for (const unit of units) {
    const range = Math.floor(unit / unitsPerRange);
    if (ranges.at(-1) !== range) ranges.push(range);
  }
  return ranges;
}
