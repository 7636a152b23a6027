import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from './open-database.ts';

const GARBAGE = 'this was a database once. '.repeat(40);

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'architect-database-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  return dir;
}

const prepare = (database: DatabaseSync) =>
  database.exec('CREATE TABLE IF NOT EXISTS t (a TEXT) STRICT');
const given = { prepare, without: 'all is forgotten' };

test('a file that is not there is made, for its owner alone', () => {
  const path = join(folder(), 'new.db');
  openDatabase(path, given).close();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  openDatabase(path, given).close();
});

test('a damaged one is told with what to do, and left as it is', () => {
  const path = join(folder(), 'bad.db');
  writeFileSync(path, GARBAGE);
  expect(() => openDatabase(path, given)).toThrow(
    /bad\.db is damaged .*backup, or move it away: all is forgotten/,
  );
  expect(readFileSync(path, 'utf8')).toBe(GARBAGE);
});

test('what is no file is not called damaged', () => {
  const path = join(folder(), 'folder.db');
  mkdirSync(path);
  expect(() => openDatabase(path, given)).toThrow(/folder\.db cannot be opened .*EISDIR/);
});
