/**
 * Each node's WireGuard key, endpoint and number: SQLite in the data folder, since a control plane that
 * starts again must know all peers before any of them asks. Who is revoked the enrolment says.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { openDatabase } from '../open-database.ts';

const LOCK_WAIT_MS = 5_000;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS nodes (
    host_id TEXT PRIMARY KEY, public_key TEXT NOT NULL, endpoint TEXT NOT NULL,
    number INTEGER NOT NULL UNIQUE) STRICT;
`;

const Row = z
  .object({ host_id: HostId, public_key: z.string(), endpoint: z.string(), number: z.number() })
  .transform((row) => ({
    id: row.host_id,
    publicKey: row.public_key,
    endpoint: row.endpoint,
    number: row.number,
  }));
export type BookedNode = Readonly<z.infer<typeof Row>>;

export class UnderlayBook {
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
      without: 'hosts and gateways then say their keys again, and may get other addresses',
    });
  }

  nodes(): readonly BookedNode[] {
    return this.#database
      .prepare('SELECT * FROM nodes ORDER BY number')
      .all()
      .map((row) => Row.parse(row));
  }

  /** On disk when this returns, in the place of what the node said before. */
  put({ id, publicKey, endpoint, number }: BookedNode): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?)')
      .run(id, publicKey, endpoint, number);
  }

  remove(id: HostId): void {
    this.#database.prepare('DELETE FROM nodes WHERE host_id = ?').run(id);
  }

  close(): void {
    this.#database.close();
  }
}
