/**
 * The working records in Redis, each written by compare-and-set on its generation.
 *
 *   architect:<fleet>:job:<id>       JSON; finished ones expire
 *   architect:<fleet>:jobs:open      set of ids        …:jobs:finished   sorted set by time
 *   architect:<fleet>:vm:<id>        JSON              …:vms             set of ids
 *   architect:<fleet>:migration:<id> JSON; ended ones expire
 *   architect:<fleet>:migrations:open, …:migrations:finished   as of the jobs
 *   architect:<fleet>:marker         set once recovery is done: missing means that Redis was wiped
 *
 * A record that does not parse is a broken world (another version wrote it) and throws.
 */
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { isOpenMove, MigrationRecord } from './migration-record.ts';
import { JobRecord, VmRecord } from './records.ts';

export class RecordConflictError extends ArchitectError {
  readonly code = 'RECORD_CONFLICT';
  readonly retry = 'later';
}

export const FINISHED_JOB_TTL_MS = 6 * 60 * 60_000;
const MAX_FINISHED_LISTED = 1000;
const READ_BATCH = 500;
const MAX_UPDATE_ATTEMPTS = 8;

const putScript = readFileSync(new URL('lua/put-record.lua', import.meta.url), 'utf8');

export interface RecordStoreOptions {
  readonly redis: Redis;
  readonly fleet: string;
  readonly finishedTtlMs?: number;
}

/** The record to write; undefined leaves it as it is. */
type Change<T> = T | undefined | Promise<T | undefined>;

export class RecordStore {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #finishedTtlMs: number;

  constructor({ redis, fleet, finishedTtlMs = FINISHED_JOB_TTL_MS }: RecordStoreOptions) {
    this.#redis = redis;
    this.#prefix = `architect:${fleet}`;
    this.#finishedTtlMs = finishedTtlMs;
  }

  async readJob(id: JobId): Promise<JobRecord | undefined> {
    return (await this.readJobs([id]))[0];
  }

  /** Those that exist, in the order of the ids. */
  async readJobs(ids: readonly JobId[]): Promise<readonly JobRecord[]> {
    return this.#readAll(
      ids.map((id) => this.#key('job', id)),
      JobRecord,
    );
  }

  async listOpenJobs(): Promise<readonly JobRecord[]> {
    return this.readJobs(parseIds(await this.#redis.smembers(this.#key('jobs', 'open')), JobId));
  }

  /** The newest first; older ones are in the evidence. */
  async listFinishedJobs(limit = MAX_FINISHED_LISTED): Promise<readonly JobRecord[]> {
    const ids = await this.#redis.zrevrange(this.#key('jobs', 'finished'), 0, limit - 1);
    return this.readJobs(parseIds(ids, JobId));
  }

  /** True when written; false when the stored generation is not the one before the record's. */
  async putJob(job: JobRecord, nowMs: number): Promise<boolean> {
    const open = job.state === 'queued' || job.state === 'in-progress';
    return this.#put({
      keys: [this.#key('job', job.id), this.#key('jobs', 'open'), this.#key('jobs', 'finished')],
      record: job,
      standing: open ? 'open' : 'finished',
      nowMs,
    });
  }

  /**
   * Reads, changes and writes the record until no other writer was faster. `change` answers
   * undefined to leave it as it is. Gives what is stored at the end; throws RecordConflictError
   * after MAX_UPDATE_ATTEMPTS.
   */
  async updateJob(
    id: JobId,
    nowMs: number,
    change: (job: JobRecord | undefined) => Change<JobRecord>,
  ): Promise<JobRecord | undefined> {
    return this.#update({
      read: () => this.readJob(id),
      change,
      put: (job) => this.putJob(job, nowMs),
    });
  }

  async readVm(id: VmId): Promise<VmRecord | undefined> {
    return (await this.#readAll([this.#key('vm', id)], VmRecord))[0];
  }

  async listVms(): Promise<readonly VmRecord[]> {
    const ids = parseIds(await this.#redis.smembers(this.#key('vms', 'all')), VmId);
    return this.#readAll(
      ids.map((id) => this.#key('vm', id)),
      VmRecord,
    );
  }

  async putVm(vm: VmRecord, nowMs: number): Promise<boolean> {
    return this.#put({
      keys: [this.#key('vm', vm.id), this.#key('vms', 'all'), this.#key('vms', 'none')],
      record: vm,
      standing: 'open',
      nowMs,
    });
  }

  /** As `updateJob`. */
  async updateVm(
    id: VmId,
    nowMs: number,
    change: (vm: VmRecord | undefined) => Change<VmRecord>,
  ): Promise<VmRecord | undefined> {
    return this.#update({
      read: () => this.readVm(id),
      change,
      put: (vm) => this.putVm(vm, nowMs),
    });
  }

  async deleteVm(id: VmId): Promise<void> {
    await this.#redis.multi().del(this.#key('vm', id)).srem(this.#key('vms', 'all'), id).exec();
  }

  async readMigration(id: MigrationId): Promise<MigrationRecord | undefined> {
    return (await this.#readAll([this.#key('migration', id)], MigrationRecord))[0];
  }

  /** Those under way, and those that ended at `sinceMs` or later. */
  async listMigrations(sinceMs: number): Promise<readonly MigrationRecord[]> {
    const [open, ended] = await Promise.all([
      this.#redis.smembers(this.#key('migrations', 'open')),
      this.#redis.zrangebyscore(this.#key('migrations', 'finished'), sinceMs, '+inf'),
    ]);
    const ids = parseIds([...new Set([...open, ...ended])], MigrationId);
    return this.#readAll(
      ids.map((id) => this.#key('migration', id)),
      MigrationRecord,
    );
  }

  async putMigration(migration: MigrationRecord, nowMs: number): Promise<boolean> {
    return this.#put({
      keys: [
        this.#key('migration', migration.id),
        this.#key('migrations', 'open'),
        this.#key('migrations', 'finished'),
      ],
      record: migration,
      standing: isOpenMove(migration) ? 'open' : 'finished',
      nowMs,
    });
  }

  /** As `updateJob`. */
  async updateMigration(
    id: MigrationId,
    nowMs: number,
    change: (migration: MigrationRecord | undefined) => Change<MigrationRecord>,
  ): Promise<MigrationRecord | undefined> {
    return this.#update({
      read: () => this.readMigration(id),
      change,
      put: (migration) => this.putMigration(migration, nowMs),
    });
  }

  async hasMarker(): Promise<boolean> {
    return (await this.#redis.exists(this.#key('marker', 'recovered'))) === 1;
  }

  async setMarker(): Promise<void> {
    await this.#redis.set(this.#key('marker', 'recovered'), '1');
  }

  #key(kind: string, id: string): string {
    return `${this.#prefix}:${kind}:${id}`;
  }

  async #put({
    keys,
    record,
    standing,
    nowMs,
  }: {
    readonly keys: readonly string[];
    readonly record: JobRecord | VmRecord | MigrationRecord;
    readonly standing: 'open' | 'finished';
    readonly nowMs: number;
  }): Promise<boolean> {
    const args = [
      record.id,
      JSON.stringify(record),
      record.generation - 1,
      standing,
      nowMs,
      this.#finishedTtlMs,
    ];
    return (await this.#redis.eval(putScript, keys.length, ...keys, ...args)) === 1;
  }

  async #update<T extends { readonly generation: number }>({
    read,
    change,
    put,
  }: {
    readonly read: () => Promise<T | undefined>;
    readonly change: (record: T | undefined) => Change<T>;
    readonly put: (record: T) => Promise<boolean>;
  }): Promise<T | undefined> {
    for (let attempt = 0; attempt < MAX_UPDATE_ATTEMPTS; attempt += 1) {
      const stored = await read();
      const changed = await change(stored);
      if (changed === undefined) return stored;
      const next = { ...changed, generation: (stored?.generation ?? 0) + 1 };
      if (await put(next)) return next;
    }
    throw new RecordConflictError('A record was changed by others again and again; it was left.');
  }

  async #readAll<S extends z.ZodType>(
    keys: readonly string[],
    schema: S,
  ): Promise<readonly z.output<S>[]> {
    const records: z.output<S>[] = [];
    for (let at = 0; at < keys.length; at += READ_BATCH) {
      const texts = await this.#redis.mget(...keys.slice(at, at + READ_BATCH));
      for (const text of texts) if (text !== null) records.push(schema.parse(JSON.parse(text)));
    }
    return records;
  }
}

function parseIds<S extends z.ZodType>(ids: readonly string[], schema: S): z.output<S>[] {
  return z.array(schema).parse([...ids].sort());
}
