/** What one agent has to say of its migrations: each newest state, kept for a while after its end. */
import type { MigrationId } from '../protocol/ids.ts';
import type { MigrationReport } from '../protocol/migration-messages.ts';
import type { MoveFigures } from './worker/data-commands.ts';

/** The control plane has read the end long before. */
const KEEP_MS = 10 * 60_000;
const MAX_KEPT = 400;

interface MoveLogParts {
  /** Wall clock, for what is said. */
  readonly nowMs: () => number;
  /** A clock that does not jump, for what is kept. */
  readonly steadyMs?: () => number;
  readonly onChange: () => void;
}

export class MoveLog {
  readonly #moves = new Map<MigrationId, MigrationReport>();
  /** When a move's end was heard of, by the steady clock. */
  readonly #overSince = new Map<MigrationId, number>();
  readonly #nowMs: () => number;
  readonly #steadyMs: () => number;
  readonly #onChange: () => void;

  constructor({ nowMs, steadyMs = () => performance.now(), onChange }: MoveLogParts) {
    this.#nowMs = nowMs;
    this.#steadyMs = steadyMs;
    this.#onChange = onChange;
  }

  begin(move: Pick<MigrationReport, 'migrationId' | 'vmId' | 'role' | 'peer' | 'epoch'>): void {
    this.#forgetOld();
    this.#overSince.delete(move.migrationId);
    this.#moves.set(move.migrationId, {
      ...move,
      phase: 'reserving',
      why: null,
      startedAtMs: Math.round(this.#nowMs()),
      endedAtMs: null,
      blackoutMs: null,
      bytesFromSource: 0,
      bytesFromStore: 0,
      bytesLeft: 0,
      packetsLost: null,
    });
    this.#onChange();
  }

  get(migrationId: MigrationId): MigrationReport | undefined {
    return this.#moves.get(migrationId);
  }

  enter(
    migrationId: MigrationId,
    change: Partial<Pick<MigrationReport, 'phase' | 'why' | 'blackoutMs' | 'packetsLost'>>,
  ): void {
    const move = this.#moves.get(migrationId);
    if (move === undefined || isOver(move)) return;
    const next = { ...move, ...change };
    const endedAtMs = isOver(next) ? Math.round(this.#nowMs()) : null;
    this.#moves.set(migrationId, { ...next, endedAtMs });
    if (isOver(next)) this.#overSince.set(migrationId, this.#steadyMs());
    this.#onChange();
  }

  /** Figures alone are no news: they go with the next report. */
  note(migrationId: MigrationId, figures: MoveFigures): void {
    const move = this.#moves.get(migrationId);
    if (move !== undefined) this.#moves.set(migrationId, { ...move, ...figures });
  }

  reports(): MigrationReport[] {
    this.#forgetOld();
    return [...this.#moves.values()];
  }

  #forgetOld(): void {
    const oldMs = this.#steadyMs() - KEEP_MS;
    for (const [id, overMs] of this.#overSince) {
      if (overMs >= oldMs && this.#moves.size <= MAX_KEPT) continue;
      this.#moves.delete(id);
      this.#overSince.delete(id);
    }
  }
}

function isOver({ phase }: Pick<MigrationReport, 'phase'>): boolean {
  return phase === 'done' || phase === 'aborted' || phase === 'lost';
}
