/**
 * Which gateway acts for each floating address: SQLite in the data folder, synchronous = FULL, because
 * a takeover must hold after a crash, whichever gateway is heard first then.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { openDatabase } from '../open-database.ts';
import { Acting } from './pair-gateways.ts';

const LOCK_WAIT_MS = 5_000;
const SCHEMA =
  'CREATE TABLE IF NOT EXISTS acting (address TEXT PRIMARY KEY, entry TEXT NOT NULL) STRICT';
const Row = z.object({ entry: z.string() });

export class ActingBook {
  readonly #database: DatabaseSync;

  /** Opens or creates the file (0600). */
  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.#database = openDatabase(path, {
      prepare: (database) => {
        database.exec(`PRAGMA busy_timeout = ${LOCK_WAIT_MS}`);
        database.exec('PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;');
        database.exec(SCHEMA);
      },
      without: 'of each pair of gateways the first that joins acts',
    });
  }

  entries(): readonly Acting[] {
    const rows = this.#database.prepare('SELECT entry FROM acting ORDER BY address').all();
    return rows.map((row) => Acting.parse(JSON.parse(Row.parse(row).entry)));
  }

  /** It is on disk when this returns. False: an entry of this or a later term is there, and stays. */
  put(entry: Acting): boolean {
    const { changes } = this.#database
      .prepare(
        `INSERT INTO acting (address, entry) VALUES (?, ?) ON CONFLICT (address) DO UPDATE
         SET entry = excluded.entry WHERE (acting.entry ->> 'term') < ?`,
      )
      .run(entry.address, JSON.stringify(entry), entry.term);
    return changes > 0;
  }

  close(): void {
    this.#database.close();
  }
}
