/** Opens an SQLite file of the data folder; what is wrong with one is told with what to do. */
import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { ArchitectError } from '../host-agent/protocol/errors.ts';

/** SQLITE_CORRUPT and SQLITE_NOTADB (sqlite.org/rescode.html). */
const DAMAGED: ReadonlySet<number | undefined> = new Set([11, 26]);
const SqliteTrouble = z.object({ errcode: z.int() });

export class DatabaseError extends ArchitectError {
  readonly code = 'DATABASE';
  readonly retry = 'never';
}

/**
 * Opens or creates the file (0600) and lets `prepare` settle its pragmas and schema. Throws what
 * `prepare` throws of Architect's own, else DatabaseError; the file is then closed and as it was.
 */
export function openDatabase(
  path: string,
  {
    prepare,
    without,
  }: {
    readonly prepare: (database: DatabaseSync) => void;
    /** What it means to start with an empty one: the end of "move it away: …". */
    readonly without: string;
  },
): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    closeSync(openSync(path, 'a', 0o600));
    chmodSync(path, 0o600);
    database = new DatabaseSync(path);
    prepare(database);
    return database;
  } catch (cause) {
    database?.close();
    if (cause instanceof ArchitectError) throw cause;
    throw new DatabaseError(describe(path, cause, without), { cause });
  }
}

function describe(path: string, cause: unknown, without: string): string {
  const said = cause instanceof Error ? cause.message : String(cause);
  if (DAMAGED.has(SqliteTrouble.safeParse(cause).data?.errcode))
    return `${path} is damaged (${said}). Restore it from a backup, or move it away: ${without}.`;
  return `${path} cannot be opened (${said}). Check its disk, and that its owner runs architect.`;
}
