/**
 * `npm run bench`: measures and prints. Every figure comes from this run; nothing here passes or
 * fails a build, since absolute times depend on the machine and on what else it is doing.
 */
import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import type { Bench, BenchResult } from './bench.ts';
import { chunksBench } from './chunks.ts';
import { latencyBench } from './latency.ts';
import { plannerBench } from './planner.ts';
import { formatCircumstances, formatResult, readCircumstances } from './report.ts';
import { startBench } from './start.ts';
import { throughputBench } from './throughput.ts';

const BENCHES: readonly Bench[] = [
  plannerBench,
  throughputBench,
  startBench,
  latencyBench,
  chunksBench,
];

const program = new Command('npm run bench --')
  .description('Measures Architect on this machine. Without a name: every bench, one by one.')
  .argument('[names...]', `which: ${BENCHES.map(({ name }) => name).join(', ')}`)
  .option('--json <file>', 'write every figure to this file, too')
  .addHelpText('after', describeBenches())
  .action((names: readonly string[], options: { readonly json?: string }) => main(names, options));
await program.parseAsync();

async function main(names: readonly string[], { json }: { readonly json?: string }): Promise<void> {
  const unknown = names.filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown.length > 0) {
    program.error(`There is no bench ${unknown.join(', ')}. There are:\n${listBenches()}`);
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stop.abort(new Error('Stopped.')));
  }
  const wanted = BENCHES.filter(({ name }) => names.length === 0 || names.includes(name));
  const circumstances = readCircumstances();
  say(formatCircumstances(circumstances));
  const results = await runAll(wanted, stop.signal);
  if (json === undefined) return;
  const figures = results.map(([name, { targets, figures: own }]) => [name, { ...own, targets }]);
  const all = { ...circumstances, benches: Object.fromEntries(figures) };
  await writeFile(json, `${JSON.stringify(all, null, 2)}\n`);
}

/** One that fails is reported and does not keep the others from running. */
async function runAll(
  benches: readonly Bench[],
  signal: AbortSignal,
): Promise<readonly (readonly [string, BenchResult])[]> {
  const results: (readonly [string, BenchResult])[] = [];
  for (const bench of benches) {
    if (signal.aborted) break;
    try {
      const result = await bench.run({ signal, progress });
      results.push([bench.name, result]);
      say(`\n${formatResult(bench, result)}`);
    } catch (error) {
      process.exitCode = 1;
      const why = error instanceof Error ? error.stack : String(error);
      const stopped = 'stopped; everything of it was removed';
      process.stderr.write(`\n${bench.name} ended early: ${signal.aborted ? stopped : why}\n`);
    }
  }
  return results;
}

function listBenches(): string {
  return BENCHES.map(({ name, about }) => `  ${name.padEnd(12)}${about}`).join('\n');
}

function describeBenches(): string {
  return `
Benches:
${listBenches()}

Examples:
  npm run bench
  npm run bench -- planner throughput
  npm run bench -- start --json start.json`;
}

function progress(what: string): void {
  process.stderr.write(`  … ${what}\n`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
