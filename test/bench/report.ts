/** How results look on the terminal, and what goes into the JSON file. */
import { cpus, loadavg, totalmem } from 'node:os';
import { formatTable } from '../../app/cli/table.ts';
import type { Bench, BenchResult, Target } from './bench.ts';

const GIB = 1024 ** 3;

/** Figures mean nothing without the machine, and little without what else it was doing. */
export interface Circumstances {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly node: string;
  readonly loadBefore: number;
}

export function readCircumstances(): Circumstances {
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / GIB),
    node: process.version,
    loadBefore: Number((loadavg()[0] ?? 0).toFixed(1)),
  };
}

export function formatCircumstances(seen: Circumstances): string {
  const { date, cpu, cores, memoryGib, node, loadBefore } = seen;
  const load = `load before ${loadBefore}`;
  return `${date}  ${cores} × ${cpu}  ${memoryGib} GiB  Node ${node}  ${load}`;
}

export function formatResult({ name, about }: Bench, { tables, targets }: BenchResult): string {
  const blocks = tables.map(
    ({ title, headings, rows }) => `${title}\n${indent(formatTable(headings, rows))}`,
  );
  const heading = `${name}: ${about}`;
  return [heading, ...blocks, ...targets.map(formatTarget)].join('\n\n');
}

function formatTarget({ what, wanted, measured, met }: Target): string {
  return `${met ? 'met   ' : 'MISSED'}  ${what}: ${measured} (wanted: ${wanted})`;
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}
