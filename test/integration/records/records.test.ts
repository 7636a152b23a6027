import { statSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { EvidenceError, EvidenceStore } from '../../../app/evidence/evidence-store.ts';
import { applyJobFacts } from '../../../app/records/apply-job-facts.ts';
import { Lease } from '../../../app/records/lease.ts';
import { RecordStore } from '../../../app/records/record-store.ts';
import type { JobFacts } from '../../../app/records/records.ts';
import { HostId } from '../../../host-agent/protocol/ids.ts';
import { CLASS } from '../../fixtures/protocol.ts';
import { jobFacts, jobRecord } from '../../fixtures/records.ts';
import { LeaseChild } from './lease-child.ts';
import { startTestRedis, type TestRedis } from './redis-server.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await redis?.stop();
});
beforeEach(async () => {
  await redis.connect().flushall();
});

describe('RecordStore', () => {
  it('lets a stale writer lose and a retried update win', async () => {
    const store = new RecordStore({ redis: redis.connect(), fleet: 'f' });
    const job = jobRecord();
    expect(await store.putJob(job, 1)).toBe(true);
    expect(await store.putJob(job, 1)).toBe(false);
    await Promise.all(
      [1, 2, 3, 4].map(() =>
        store.updateJob(
          job.id,
          1,
          (stored) => stored && { ...stored, vmsStarted: stored.vmsStarted + 1 },
        ),
      ),
    );
    expect(await store.readJob(job.id)).toMatchObject({ vmsStarted: 4, generation: 5 });
  });

  it('keeps finished jobs for a while only, and not among the open ones', async () => {
    const client = redis.connect();
    const store = new RecordStore({ redis: client, fleet: 'f', finishedTtlMs: 60_000 });
    await store.putJob(jobRecord(), 1);
    expect(await store.listOpenJobs()).toHaveLength(1);
    await store.putJob(jobRecord({ generation: 2, state: 'completed' }), 2);
    expect(await store.listOpenJobs()).toHaveLength(0);
    expect(await store.listFinishedJobs()).toHaveLength(1);
    expect(await client.pttl('architect:f:job:7')).toBeGreaterThan(0);
  });
});

describe('applyJobFacts', () => {
  it('does not start a finished job again that Redis forgot', async () => {
    const store = new RecordStore({ redis: redis.connect(), fleet: 'f' });
    const evidence = EvidenceStore.open(join(redis.folder, 'late.db'));
    const book = {
      store,
      evidence,
      classify: () => ({ kind: 'served' as const, class: CLASS, request: {} }),
    };
    const facts = (status: JobFacts['status']) =>
      jobFacts({ status, conclusion: 'success', completedAtMs: 2 });
    await applyJobFacts(book, facts('completed'), 3);
    await redis.connect().flushall();
    expect(await applyJobFacts(book, facts('queued'), 4)).toMatchObject({ kind: 'ignored' });
    expect(await store.listOpenJobs()).toEqual([]);
    evidence.close();
  });
});

describe('EvidenceStore', () => {
  it('is private, survives being opened again, and orders the timeline', () => {
    const path = join(redis.folder, 'evidence.db');
    const first = EvidenceStore.open(path);
    const job = jobRecord();
    first.rememberJob(job);
    first.moment(job.id, 'vm-requested', 20);
    first.moment(job.id, 'webhook-received', 10);
    first.moment(job.id, 'webhook-received', 15);
    first.moment(job.id, 'vm-requested', 30);
    first.close();
    const second = EvidenceStore.open(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(second.openJobs()).toEqual([job]);
    expect(second.timeline(job.id)).toEqual([
      { moment: 'webhook-received', atMs: 10 },
      { moment: 'vm-requested', atMs: 30 },
    ]);
    second.close();
  });
});

describe('evidence of an older version', () => {
  it('is taken over, with all that it knows', () => {
    const path = join(redis.folder, 'older.db');
    const job = jobRecord();
    const older = EvidenceStore.open(path);
    older.rememberJob(job);
    older.close();
    const database = new DatabaseSync(path);
    database.exec('DROP TABLE migration; DROP TABLE wish; DROP TABLE drain; DROP TABLE machine');
    database.exec('DROP TABLE price; DROP TABLE spend; PRAGMA user_version = 1');
    database.close();
    const newer = EvidenceStore.open(path);
    onTestFinished(() => newer.close());
    expect(newer.readJob(job.id)).toEqual(job);
    expect(newer.movesOf(job.id)).toEqual([]);
    newer.setDrained(HostId.parse('host-1'), true, 1);
    newer.rememberMachine('m-1', 1);
    for (const untilMs of [5, 9]) newer.addSpend({ day: '2026-11-25', usd: 0.25, untilMs });
    expect(newer.spendOn('2026-11-25')).toEqual({ day: '2026-11-25', usd: 0.5, untilMs: 9 });
    expect(newer.spendOn('2026-11-26')).toBeUndefined();
    expect([...newer.drainedHosts()]).toEqual(['host-1']);
    expect([newer.wasMachine('m-1'), newer.wasMachine('m-2')]).toEqual([true, false]);
    const price = {
      fromMs: 5,
      usdPerHour: 0.1,
      onDemandUsdPerHour: null,
      vcpus: 4,
      memoryMib: 8192,
      offer: null,
    };
    newer.rememberPrice(HostId.parse('host-1'), price);
    expect(newer.pricesOf(HostId.parse('host-1'))).toEqual([price]);
  });
});

describe('a batch of evidence', () => {
  it('can be read at once, and by others when it is written', async () => {
    const path = join(redis.folder, 'batch.db');
    const writer = EvidenceStore.open(path);
    const reader = EvidenceStore.open(path);
    const job = jobRecord();
    writer.rememberJob(job);
    writer.moment(job.id, 'vm-requested', 20);
    expect(writer.readJob(job.id)).toEqual(job);
    expect(reader.readJob(job.id)).toBeUndefined();
    await writer.written();
    expect(reader.readJob(job.id)).toEqual(job);
    expect(reader.timeline(job.id)).toEqual([{ moment: 'vm-requested', atMs: 20 }]);
    writer.close();
    reader.close();
  });

  it('is refused as a whole by a full disk, and the next one is taken', async () => {
    const disk = join(redis.folder, 'small-disk');
    await mkdir(disk);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', disk]);
    onTestFinished(async () => {
      await execa('umount', ['--lazy', disk]);
    });
    const evidence = EvidenceStore.open(join(disk, 'evidence.db'));
    onTestFinished(() => evidence.close());
    const filler = join(disk, 'filler');
    await writeFile(filler, Buffer.alloc(1024 * 1024)).catch(() => undefined);
    const job = jobRecord();
    evidence.rememberJob(job);
    evidence.moment(job.id, 'vm-requested', 20);
    await expect(evidence.written()).rejects.toBeInstanceOf(EvidenceError);
    expect(evidence.readJob(job.id)).toBeUndefined();
    await rm(filler);
    evidence.rememberJob(job);
    await evidence.written();
    expect(evidence.readJob(job.id)).toEqual(job);
    expect(evidence.timeline(job.id)).toEqual([]);
  });
});

describe('Lease', () => {
  it('is held by one, passes on when it runs out, and its fence grows', async () => {
    let nowMs = 0;
    const options = { redis: redis.connect(), fleet: 'f', durationMs: 60_000, now: () => nowMs };
    const [a, b] = [new Lease(options), new Lease(options)];
    expect(await a.keep()).toBe(true);
    expect(await b.keep()).toBe(false);
    expect(await a.keep()).toBe(true);
    nowMs = 60_000;
    expect(a.held).toBe(false);
    await redis.connect().flushall();
    expect(await b.keep()).toBe(true);
    expect(await a.keep()).toBe(false);
    await a.release();
    expect(await b.keep()).toBe(true);
    await b.release();
    expect(await a.keep()).toBe(true);
    expect(a.fence).toBeGreaterThan(b.fence);
  });

  it('passes at once from a killed process, to one of those that want it', async () => {
    const holder = await LeaseChild.start(redis.socket);
    try {
      const wanted = [1, 2, 3].map(() => new Lease({ redis: redis.connect(), fleet: 'f' }));
      const keepAll = async () => await Promise.all(wanted.map((lease) => lease.keep()));
      // It answers nobody, but it is there, and may go on.
      holder.freeze();
      expect(await keepAll()).toEqual([false, false, false]);
      await holder.kill();
      const kept = await keepAll();
      expect(kept.filter(Boolean)).toHaveLength(1);
      expect(await keepAll()).toEqual(kept);
      expect(wanted.map(({ held }) => held)).toEqual(kept);
      expect(Math.max(...wanted.map(({ fence }) => fence))).toBe(holder.fence + 1);
    } finally {
      await holder.kill();
    }
  });
});
