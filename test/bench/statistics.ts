/** Of a list of measurements, in its own unit; nearest rank, so every figure was really measured. */
export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** Throws RangeError for an empty list: there is nothing to tell then. */
export function summarize(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError('nothing was measured');
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  const [p50, p90, p99] = [at(0.5), at(0.9), at(0.99)];
  return { count: sorted.length, min: at(0), p50, p90, p99, max: at(1) };
}

/** Three figures that count: `0.0213`, `4.51`, `128`, `1,204`. */
export function formatNumber(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}
