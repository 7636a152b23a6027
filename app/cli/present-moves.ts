/** Moves as text for people. Pure. */
import type { JobDetail, MigrationStatus, MoveView } from '../api/views.ts';
import { formatDuration, formatTable } from './table.ts';

const NONE = '-';
const HEADINGS = ['MOVE', 'FROM', 'TO', 'OUTCOME', 'BLACKOUT', 'SOURCE', 'STORE', 'LOST', 'WHY'];

/** A table of all attempts and what was left of GitHub's lock; no lines when there were none. */
export function presentMoves({ moves, lockMarginMs }: JobDetail): readonly string[] {
  if (moves.length === 0) return [];
  const rows = moves.map((move) => [
    new Date(move.startedAtMs).toISOString(),
    move.from,
    move.to ?? 'store',
    move.kind === 'live' ? move.phase : `${move.phase} (${move.kind})`,
    presentBlackout(move),
    formatBytes(move.bytesFromSource),
    formatBytes(move.bytesFromStore),
    move.packetsLost === null ? NONE : String(move.packetsLost),
    move.why ?? move.because,
  ]);
  const margin =
    lockMarginMs === null ? [] : ['', `GitHub's lock had ${presentMargin(lockMarginMs)}.`];
  return ['', formatTable(HEADINGS, rows), ...margin];
}

/** Its source measured it, and may have gone before it could tell. */
function presentBlackout({ phase, blackoutMs }: MoveView): string {
  if (blackoutMs !== null) return formatDuration(blackoutMs);
  return phase === 'done' ? 'unknown' : NONE;
}

function presentMargin(marginMs: number): string {
  if (marginMs < 0) return `perhaps run out, ${formatDuration(-marginMs)} too early`;
  return `at least ${formatDuration(marginMs)} left, were it renewed a minute before each move`;
}

/** One sentence on a move that is over. */
export function presentMove({ vmId, from, to, phase, why, blackoutMs }: MoveView): string {
  if (phase !== 'done') return `${vmId} was not moved off ${from} (${phase}). ${why ?? ''}`.trim();
  const away = blackoutMs === null ? '' : `, away for ${formatDuration(blackoutMs)}`;
  return `${vmId} moved from ${from} to ${to ?? NONE}${away}.`;
}

/** One line on a move that is under way. */
export function presentProgress({ migration, why }: MigrationStatus): string {
  if (migration === null) return `waiting to begin${why === null ? '' : `: ${why}`}`;
  const { phase, to, bytesLeft } = migration;
  const left = bytesLeft === 0 ? '' : `, ${formatBytes(bytesLeft)} left`;
  return `${phase} to ${to ?? 'the store'}${left}`;
}

/** `840 B`, `1.2 kB`, `35.0 MB`: powers of a thousand. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${units[power] ?? 'B'}`;
}
