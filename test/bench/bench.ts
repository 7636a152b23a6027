/** What a bench is: a measurement that prints what it saw and judges nothing but its own targets. */
export interface Bench {
  readonly name: string;
  readonly about: string;
  /** Parts of it that can be run alone, by their names. */
  readonly rows?: readonly string[];
  /** Cleans up after itself, also when the signal ends it. */
  run(context: BenchContext): Promise<BenchResult>;
}

export interface BenchContext {
  readonly signal: AbortSignal;
  readonly progress: (what: string) => void;
  /** Of its rows, those that are wanted; empty: all of them. */
  readonly rows: readonly string[];
  /** How often a VM is moved to tell how long its guest stands still. */
  readonly moves: number;
  /** Where measured histories lie; undefined: nowhere. */
  readonly data: string | undefined;
}

export interface BenchResult {
  readonly tables: readonly BenchTable[];
  readonly targets: readonly Target[];
  /** The same and more, for machines. */
  readonly figures: Readonly<Record<string, unknown>>;
}

export interface BenchTable {
  readonly title: string;
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface Target {
  readonly what: string;
  readonly wanted: string;
  readonly measured: string;
  readonly met: boolean;
}
