/**
 * What a job's VM went through, in Markdown for the job's summary on GitHub. Pure. The guest gets it
 * when its job has run (runner-image, job-completed.sh), so the last seconds are not in it.
 */
import { formatCost } from '../protocol/format-cost.ts';
import type { GuestView } from '../protocol/guest-api.ts';

export function summariseJob(view: GuestView): string {
  const rows = [
    ['Class', `\`${view.class}\``],
    ['Moves survived', formatMoves(view)],
    ['Cost', view.cost === null ? 'not known: its host has no price' : formatCost(view.cost)],
  ];
  const lines = rows.map(([what, value]) => `| ${what} | ${value} |`);
  return ['### Architect', '', '| | |', '|---|---|', ...lines, ''].join('\n');
}

function formatMoves({ moves, blackoutsMs }: GuestView): string {
  const known = blackoutsMs.filter((ms) => ms !== null).map((ms) => `${Math.round(ms)} ms`);
  return known.length === 0
    ? String(moves)
    : `${moves}; the VM stood still for ${known.join(', ')}`;
}
