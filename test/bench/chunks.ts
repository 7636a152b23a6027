/**
 * Sealing and opening chunks on one core at several levels of zstd (Node has no lz4), on bytes like those in a
 * guest's memory; and what the store of one VM costs for an hour at S3's list prices.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { CHUNK_BYTES, ChunkCodec } from '../../host-agent/chunks/chunk-codec.ts';
import { ZSTD_LEVEL } from '../../host-agent/chunks/compression.ts';
import { PACK_TARGET_BYTES } from '../../host-agent/chunks/pack.ts';
import { MAX_SPAN_BYTES } from '../../host-agent/chunks/read-plan.ts';
import { storeCost } from '../../host-agent/chunks/store-cost.ts';
import type { Bench, BenchContext, BenchResult } from './bench.ts';
import { formatNumber } from './statistics.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const LEVELS = [-5, -1, 1, 3, 6];
const SAMPLE_BYTES = 48 * MIB;
const TARGET_SHARE = 0.05;

/**
 * A 4-vCPU, 16 GB guest that compiles: what it stores in an hour, sealed at half its size. The spot
 * price is a typical one of an m7i.xlarge, which such a VM fills.
 */
const MODEL = {
  spotUsdPerHour: 0.07,
  coldBytes: 4 * GIB,
  checkpointsPerHour: 12,
  changedBytesPerCheckpoint: 300 * MIB,
  sealedShare: 0.5,
  /** Manifest, head. */
  putsPerCheckpoint: 2,
  movesPerHour: 1,
  collectionsPerHour: 1,
} as const;

interface Measured {
  readonly level: number;
  readonly sealMbPerS: number;
  readonly openMbPerS: number;
  readonly share: number;
}

export const chunksBench: Bench = {
  name: 'chunks',
  about: 'seal and open chunks on one core; what a VM-hour of the store costs',
  run: async (context) => describe(await measureAll(context)),
};

async function measureAll({ signal, progress }: BenchContext): Promise<readonly Measured[]> {
  const chunks = await makeChunks();
  const measured: Measured[] = [];
  for (const level of LEVELS) {
    progress(`zstd level ${level}`);
    measure(level, chunks.slice(0, 100));
    measured.push(measure(level, chunks));
    await new Promise(setImmediate);
    signal.throwIfAborted();
  }
  return measured;
}

/** Half machine code and constants (this program's own), a quarter source text, a quarter noise. */
async function makeChunks(): Promise<readonly Buffer[]> {
  const code = (await readFile(process.execPath)).subarray(0, SAMPLE_BYTES / 2);
  const source = await readFile(new URL('../../package-lock.json', import.meta.url));
  const copies = Math.ceil(SAMPLE_BYTES / 4 / source.length);
  const text = Buffer.concat(Array(copies).fill(source)).subarray(0, SAMPLE_BYTES / 4);
  const all = Buffer.concat([code, text, randomBytes(SAMPLE_BYTES / 4)]);
  return Array.from({ length: Math.floor(all.length / CHUNK_BYTES) }, (_, n) =>
    all.subarray(n * CHUNK_BYTES, (n + 1) * CHUNK_BYTES),
  );
}

function measure(level: number, chunks: readonly Buffer[]): Measured {
  const codec = new ChunkCodec(randomBytes(32), { level });
  const plainMb = (chunks.length * CHUNK_BYTES) / 1e6;
  const beganMs = performance.now();
  const sealed = chunks.map((chunk) => codec.seal(chunk));
  const sealedMs = performance.now();
  for (const { name, size, bytes } of sealed)
    codec.open({ name, size, length: bytes.length }, bytes);
  const openedMs = performance.now();
  const sealedBytes = sealed.reduce((sum, { bytes }) => sum + bytes.length, 0);
  return {
    level,
    sealMbPerS: plainMb / ((sealedMs - beganMs) / 1000),
    openMbPerS: plainMb / ((openedMs - sealedMs) / 1000),
    share: sealedBytes / 1e6 / plainMb,
  };
}

/** Requests of the modelled VM in an hour. */
function modelHour() {
  const packs = (bytes: number) => Math.ceil((bytes * MODEL.sealedShare) / PACK_TARGET_BYTES);
  const perCheckpoint = packs(MODEL.changedBytesPerCheckpoint) + MODEL.putsPerCheckpoint;
  const puts =
    packs(MODEL.coldBytes) + MODEL.checkpointsPerHour * perCheckpoint + MODEL.collectionsPerHour;
  const readBytes = MODEL.coldBytes * MODEL.sealedShare;
  const gets =
    MODEL.movesPerHour * (Math.ceil(readBytes / MAX_SPAN_BYTES) + 2) +
    MODEL.collectionsPerHour * (MODEL.checkpointsPerHour + 2);
  const lists = 2 * MODEL.collectionsPerHour;
  const changed = MODEL.checkpointsPerHour * MODEL.changedBytesPerCheckpoint;
  const storedBytes = (MODEL.coldBytes + changed) * MODEL.sealedShare;
  const cost = storeCost({ usage: { puts, gets, lists }, storedBytes, hours: 1 });
  return { puts, gets, lists, storedBytes, ...cost };
}

function describe(measured: readonly Measured[]): BenchResult {
  const hour = modelHour();
  const share = hour.totalUsd / MODEL.spotUsdPerHour;
  const rows = measured.map(({ level, sealMbPerS, openMbPerS, share: kept }) => [
    level === ZSTD_LEVEL ? `${level} (in use)` : String(level),
    formatNumber(sealMbPerS),
    formatNumber(openMbPerS),
    `${formatNumber(kept * 100)} %`,
  ]);
  const costRow = [
    String(hour.puts),
    String(hour.gets),
    String(hour.lists),
    formatNumber(hour.storedBytes / GIB),
    hour.requestsUsd.toFixed(5),
    hour.storageUsd.toFixed(5),
    hour.totalUsd.toFixed(5),
  ];
  return {
    tables: [
      {
        title: `${CHUNK_BYTES / 1024} KiB chunks: HMAC, zstd, AES-GCM, and back with all checks (no lz4 in Node)`,
        headings: ['zstd level', 'seal MB/s', 'open MB/s', 'sealed size'],
        rows,
      },
      {
        title:
          'modelled hour: 4 GiB stored once, 12 checkpoints of 300 MiB, one move, one collection',
        headings: ['PUT', 'GET', 'LIST', 'GiB kept', 'requests $', 'storage $', 'all $'],
        rows: [costRow],
      },
    ],
    targets: [
      {
        what: `store of one VM-hour, as a share of $${MODEL.spotUsdPerHour} for a spot m7i.xlarge`,
        wanted: `≤ ${TARGET_SHARE * 100} %`,
        measured: `${formatNumber(share * 100)} %, by a model of its requests`,
        met: share <= TARGET_SHARE,
      },
    ],
    figures: { measured, hour },
  };
}
