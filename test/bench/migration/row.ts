/** One line of the table: measured by itself, with hosts and VMs of its own. */
import type { BenchContext, BenchResult } from '../bench.ts';

export interface Row {
  readonly name: string;
  /** Cleans up after itself, also when the signal ends it. */
  run(context: BenchContext): Promise<BenchResult>;
}
