/**
 * Moving running VMs between hosts: what it costs guests, links and hosts, beside QEMU's own precopy
 * of the same guest in the same run. Hosts are network namespaces with the agent's own parts in them
 * and their VMs are real; what is missing is the control plane.
 */
import type { Bench, BenchContext, BenchResult } from './bench.ts';
import { blackoutRow } from './migration/blackout.ts';
import { bytesRow } from './migration/bytes.ts';
import { checkpointRow } from './migration/checkpoint.ts';
import { evacuationRow } from './migration/evacuation.ts';
import { growthRow } from './migration/growth.ts';
import { guestSpeedRow } from './migration/guest-speed.ts';
import { noticeRow } from './migration/notice.ts';
import { parseRow } from './migration/parse.ts';
import type { Row } from './migration/row.ts';

const ROWS: readonly Row[] = [
  parseRow,
  blackoutRow,
  bytesRow,
  guestSpeedRow,
  evacuationRow,
  growthRow,
  checkpointRow,
  noticeRow,
];

export const migrationBench: Bench = {
  name: 'migration',
  about:
    'move a running VM: blackout, bytes, its speed while tracked, memory of its hosts; checkpoints, notices',
  rows: ROWS.map(({ name }) => name),
  run: runRows,
};

async function runRows(context: BenchContext): Promise<BenchResult> {
  const wanted = ROWS.filter(
    ({ name }) => context.rows.length === 0 || context.rows.includes(name),
  );
  const results: (readonly [string, BenchResult])[] = [];
  for (const row of wanted) {
    context.signal.throwIfAborted();
    context.progress(row.name);
    results.push([row.name, await row.run(context)]);
  }
  return {
    tables: results.flatMap(([, { tables }]) => tables),
    targets: results.flatMap(([, { targets }]) => targets),
    figures: Object.fromEntries(results.map(([name, { figures }]) => [name, figures])),
  };
}
