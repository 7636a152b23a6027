/**
 * What is known of each job and VM for good: a SQLite file in the data folder, mode 0600, fsynced
 * at every commit. It survives Redis, and what Redis forgot is rebuilt from it. It holds no secret:
 * records and moments only, never a JIT configuration.
 *
 * The driver is Node's own and synchronous: a write can be read when its call returns. Whatever is
 * written in one turn of the event loop is one transaction, committed at the turn's end:
 *
 *   no batch ──first write: BEGIN──→ open ──end of the turn: COMMIT, fsync──→ no batch
 *                                      └── the disk does not take it: ROLLBACK, `written` rejects
 *
 * An fsync takes about as long as a hundred writes, and a busy reconciler writes hundreds at once.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { z } from 'zod';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { HostId, type JobId, type MigrationId, type VmId } from '../../host-agent/protocol/ids.ts';
import { openDatabase } from '../open-database.ts';
import type { DaySpend } from '../planner/fleet/day-spend.ts';
import type { Evidence } from '../reconciler/ports.ts';
import { HostPrice } from '../records/job-cost.ts';
import { isOpenMove, MigrationRecord, MoveWish } from '../records/migration-record.ts';
import { JobMoment, JobRecord, VmRecord } from '../records/records.ts';

export class EvidenceError extends ArchitectError {
  readonly code = 'EVIDENCE';
  readonly retry = 'never';
}

const BUSY_TIMEOUT_MS = 5_000;
const MAX_OPEN = 20_000;
const MAX_RERUNS = 1_000;
/** More moves of one job than anybody can look through. */
const MAX_MOVES = 1_000;

const SCHEMA = `
  CREATE TABLE job (id TEXT PRIMARY KEY, open INTEGER NOT NULL, record TEXT NOT NULL) STRICT;
  CREATE INDEX job_open ON job (id) WHERE open = 1;
  CREATE TABLE vm (id TEXT PRIMARY KEY, open INTEGER NOT NULL, record TEXT NOT NULL) STRICT;
  CREATE INDEX vm_open ON vm (id) WHERE open = 1;
  CREATE TABLE moment (
    job_id TEXT NOT NULL, moment TEXT NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (job_id, moment)
  ) STRICT, WITHOUT ROWID;
`;

/** Since version 2: what becomes of VMs whose hosts go away, and what operators asked for. */
const MOVES_SCHEMA = `
  CREATE TABLE migration (
    id TEXT PRIMARY KEY, job_id TEXT, open INTEGER NOT NULL, record TEXT NOT NULL
  ) STRICT;
  CREATE INDEX migration_open ON migration (id) WHERE open = 1;
  CREATE INDEX migration_job ON migration (job_id);
  CREATE TABLE wish (id TEXT PRIMARY KEY, open INTEGER NOT NULL, record TEXT NOT NULL) STRICT;
  CREATE INDEX wish_open ON wish (id) WHERE open = 1;
  CREATE TABLE drain (host_id TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE machine (id TEXT PRIMARY KEY, first_seen_ms INTEGER NOT NULL) STRICT;
`;

/** Since version 3: what hosts that are bought cost. */
const PRICES_SCHEMA = `
  CREATE TABLE price (
    host_id TEXT NOT NULL, from_ms INTEGER NOT NULL, price TEXT NOT NULL,
    PRIMARY KEY (host_id, from_ms)
  ) STRICT, WITHOUT ROWID;
`;
/** Since version 4: what machines have cost, and finding the lost jobs that are to be run again. */
const SPEND_SCHEMA = `
  CREATE INDEX IF NOT EXISTS job_rerun ON job (id) WHERE json_extract(record, '$.rerun') = 'wanted';
  CREATE TABLE spend (
    day TEXT PRIMARY KEY, usd REAL NOT NULL, until_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** What each version adds to the one before, from version 0 on. */
const SCHEMAS = [SCHEMA, MOVES_SCHEMA, PRICES_SCHEMA, SPEND_SCHEMA];
const SCHEMA_VERSION = SCHEMAS.length;

/** What GitHub says of a job comes once; what a VM lives through, again with the job's next VM. */
const FIRST_COUNTS: ReadonlySet<JobMoment> = new Set([
  'webhook-received',
  'in-progress',
  'completed',
]);

const RecordRow = z.object({ record: z.string() });
const PriceRow = z.object({ price: z.string() });
const DrainRow = z.object({ host_id: HostId });
const SpendRow = z.object({ day: z.string(), usd: z.number(), until_ms: z.int() });
const MomentRow = z.object({ moment: JobMoment, at_ms: z.int() });

type Table = 'job' | 'vm' | 'migration' | 'wish';

export class EvidenceStore implements Evidence {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #batch: PromiseWithResolvers<void> | undefined;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Creates the file where there is none. Throws EvidenceError for one of a newer version, DatabaseError. */
  static open(path: string): EvidenceStore {
    const database = openDatabase(path, {
      prepare: (opened) => {
        opened.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
        opened.exec('PRAGMA journal_mode = WAL');
        opened.exec('PRAGMA synchronous = FULL');
        ensureSchema(opened, path);
      },
      without: 'what is known of jobs, VMs and moves is then lost',
    });
    return new EvidenceStore(database);
  }

  /** What was written until now is on disk, or lost if the disk does not take it. */
  close(): void {
    this.#commit();
    this.#database.close();
  }

  written(): Promise<void> {
    return this.#batch?.promise ?? Promise.resolve();
  }

  rememberJob(job: JobRecord): void {
    const open = job.state === 'queued' || job.state === 'in-progress';
    this.#write('INSERT OR REPLACE INTO job (id, open, record) VALUES (?, ?, ?)').run(
      job.id,
      open ? 1 : 0,
      JSON.stringify(job),
    );
  }

  rememberVm(vm: VmRecord): void {
    const open = vm.phase !== 'stopped' && vm.phase !== 'failed';
    this.#write('INSERT OR REPLACE INTO vm (id, open, record) VALUES (?, ?, ?)').run(
      vm.id,
      open ? 1 : 0,
      JSON.stringify(vm),
    );
  }

  moment(jobId: JobId, moment: JobMoment, atMs: number): void {
    const verb = FIRST_COUNTS.has(moment) ? 'IGNORE' : 'REPLACE';
    this.#write(`INSERT OR ${verb} INTO moment (job_id, moment, at_ms) VALUES (?, ?, ?)`).run(
      jobId,
      moment,
      Math.round(atMs),
    );
  }

  /** By time; the same time by the order of a job's life. */
  timeline(jobId: JobId): readonly { readonly moment: JobMoment; readonly atMs: number }[] {
    return this.#prepare('SELECT moment, at_ms FROM moment WHERE job_id = ?')
      .all(jobId)
      .map((row) => MomentRow.parse(row))
      .map((row) => ({ moment: row.moment, atMs: row.at_ms }))
      .sort((a, b) => a.atMs - b.atMs || orderOf(a.moment) - orderOf(b.moment));
  }

  openJobs(): readonly JobRecord[] {
    return this.#readOpen('job', JobRecord);
  }

  jobsToRerun(): readonly JobRecord[] {
    const wanted = `json_extract(record, '$.rerun') = 'wanted'`;
    return this.#prepare(`SELECT record FROM job WHERE ${wanted} ORDER BY id LIMIT ${MAX_RERUNS}`)
      .all()
      .map((row) => JobRecord.parse(JSON.parse(RecordRow.parse(row).record)));
  }

  openVms(): readonly VmRecord[] {
    return this.#readOpen('vm', VmRecord);
  }

  readJob(jobId: JobId): JobRecord | undefined {
    return this.#read('job', jobId, JobRecord);
  }

  readVm(vmId: VmId): VmRecord | undefined {
    return this.#read('vm', vmId, VmRecord);
  }

  rememberMigration(migration: MigrationRecord): void {
    this.#write(
      'INSERT OR REPLACE INTO migration (id, job_id, open, record) VALUES (?, ?, ?, ?)',
    ).run(migration.id, migration.jobId, isOpenMove(migration) ? 1 : 0, JSON.stringify(migration));
  }

  readMigration(id: MigrationId): MigrationRecord | undefined {
    return this.#read('migration', id, MigrationRecord);
  }

  openMigrations(): readonly MigrationRecord[] {
    return this.#readOpen('migration', MigrationRecord);
  }

  movesOf(jobId: JobId): readonly MigrationRecord[] {
    return this.#prepare(`SELECT record FROM migration WHERE job_id = ? LIMIT ${MAX_MOVES}`)
      .all(jobId)
      .map((row) => MigrationRecord.parse(JSON.parse(RecordRow.parse(row).record)))
      .sort((a, b) => a.startedAtMs - b.startedAtMs || a.epoch - b.epoch);
  }

  rememberWish(wish: MoveWish): void {
    this.#write('INSERT OR REPLACE INTO wish (id, open, record) VALUES (?, ?, ?)').run(
      wish.id,
      wish.state === 'open' ? 1 : 0,
      JSON.stringify(wish),
    );
  }

  readWish(id: MigrationId): MoveWish | undefined {
    return this.#read('wish', id, MoveWish);
  }

  openWishes(): readonly MoveWish[] {
    return this.#readOpen('wish', MoveWish);
  }

  setDrained(hostId: HostId, drained: boolean, nowMs: number): void {
    if (drained)
      this.#write('INSERT OR IGNORE INTO drain (host_id, since_ms) VALUES (?, ?)').run(
        hostId,
        nowMs,
      );
    else this.#write('DELETE FROM drain WHERE host_id = ?').run(hostId);
  }

  drainedHosts(): ReadonlySet<HostId> {
    const rows = this.#prepare('SELECT host_id FROM drain').all();
    return new Set(rows.map((row) => DrainRow.parse(row).host_id));
  }

  addSpend({ day, usd, untilMs }: DaySpend): void {
    this.#write(
      `INSERT INTO spend (day, usd, until_ms) VALUES (?, ?, ?)
       ON CONFLICT (day) DO UPDATE SET usd = usd + excluded.usd, until_ms = excluded.until_ms`,
    ).run(day, usd, Math.round(untilMs));
  }

  spendOn(day: string): DaySpend | undefined {
    const row = this.#prepare('SELECT day, usd, until_ms FROM spend WHERE day = ?').get(day);
    if (row === undefined) return undefined;
    const { until_ms: untilMs, ...spend } = SpendRow.parse(row);
    return { ...spend, untilMs };
  }

  rememberMachine(machineId: string, nowMs: number): void {
    this.#write('INSERT OR IGNORE INTO machine (id, first_seen_ms) VALUES (?, ?)').run(
      machineId,
      nowMs,
    );
  }

  wasMachine(machineId: string): boolean {
    return this.#prepare('SELECT 1 FROM machine WHERE id = ?').get(machineId) !== undefined;
  }

  rememberPrice(hostId: HostId, price: HostPrice): void {
    this.#write('INSERT OR REPLACE INTO price (host_id, from_ms, price) VALUES (?, ?, ?)').run(
      hostId,
      price.fromMs,
      JSON.stringify(price),
    );
  }

  pricesOf(hostId: HostId): readonly HostPrice[] {
    return this.#prepare('SELECT price FROM price WHERE host_id = ? ORDER BY from_ms')
      .all(hostId)
      .map((row) => HostPrice.parse(JSON.parse(PriceRow.parse(row).price)));
  }

  #write(sql: string): StatementSync {
    if (this.#batch === undefined) {
      this.#database.exec('BEGIN IMMEDIATE');
      const batch = Promise.withResolvers<void>();
      // Whoever needs to know awaits `written`.
      batch.promise.catch(() => undefined);
      this.#batch = batch;
      setImmediate(() => this.#commit());
    }
    return this.#prepare(sql);
  }

  #commit(): void {
    const batch = this.#batch;
    this.#batch = undefined;
    if (batch === undefined) return;
    try {
      this.#database.exec('COMMIT');
      batch.resolve();
    } catch (cause) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      batch.reject(new EvidenceError('The evidence could not be written to disk.', { cause }));
    }
  }

  #prepare(sql: string): StatementSync {
    const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #readOpen<S extends z.ZodType>(table: Table, schema: S): readonly z.output<S>[] {
    return this.#prepare(`SELECT record FROM ${table} WHERE open = 1 ORDER BY id LIMIT ${MAX_OPEN}`)
      .all()
      .map((row) => schema.parse(JSON.parse(RecordRow.parse(row).record)));
  }

  #read<S extends z.ZodType>(table: Table, id: string, schema: S): z.output<S> | undefined {
    const row = this.#prepare(`SELECT record FROM ${table} WHERE id = ?`).get(id);
    return row === undefined ? undefined : schema.parse(JSON.parse(RecordRow.parse(row).record));
  }
}

function ensureSchema(database: DatabaseSync, path: string): void {
  const row = database.prepare('PRAGMA user_version').get();
  const { user_version: version } = z.object({ user_version: z.int() }).parse(row);
  if (version === SCHEMA_VERSION) return;
  if (version > SCHEMA_VERSION)
    throw new EvidenceError(`${path} was written by a newer version of Architect. Use that one.`);
  const missing = SCHEMAS.slice(version).join('');
  database.exec(`BEGIN IMMEDIATE; ${missing} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT;`);
}

function orderOf(moment: JobMoment): number {
  return JobMoment.options.indexOf(moment);
}
