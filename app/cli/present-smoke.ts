/** A smoke job for a terminal: each phase with its time, then the verdict and what to do. Pure. */
import type { SmokeReport } from './doctor/smoke.ts';
import { formatTable } from './table.ts';

export function presentSmoke({ repository, outcome, why, fix, run, phases }: SmokeReport): string {
  const first = phases[0]?.atMs ?? 0;
  const rows = phases.map(({ phase, atMs }) => [
    phase,
    `+${((atMs - first) / 1_000).toFixed(1)} s`,
  ]);
  const timeline = rows.length === 0 ? [] : [formatTable(['PHASE', 'AFTER'], rows), ''];
  const page = run === null ? [] : [run.url];
  const verdict =
    outcome === 'green'
      ? `A job of ${repository} ran on Architect.`
      : `The smoke job of ${repository} failed: ${why}\n→ ${fix}`;
  return [...timeline, ...page, verdict].join('\n');
}
