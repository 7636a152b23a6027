/**
 * A machine's memory over the peer protocol on loopback: images → Sender → TLS 1.3 → Receiver →
 * images, both ends in this one thread. Two hosts share that work between two cores.
 */
import { randomFillSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLUSTER_BYTES } from '../../host-agent/migration/disk/cluster.ts';
import { DiskImage } from '../../host-agent/migration/disk/disk-image.ts';
import { MemoryImage } from '../../host-agent/migration/image/memory-image.ts';
import type { ContentEncoding } from '../../host-agent/migration/peer/content-encoding.ts';
import type { Machine } from '../../host-agent/migration/peer/peer-frames.ts';
import { PAGE_BYTES } from '../../host-agent/migration/stream/stream-format.ts';
import { areasOf, type VmImages } from '../../host-agent/migration/transfer/areas.ts';
import { Receiver } from '../../host-agent/migration/transfer/receiver.ts';
import { Sender } from '../../host-agent/migration/transfer/sender.ts';
import { connectPeers, enrolPeers } from '../integration/migration/peer-hosts.ts';
import type { Bench, BenchContext, BenchResult } from './bench.ts';
import { formatNumber } from './statistics.ts';

const MIB = 1024 * 1024;
const MEMORY_BYTES = 384 * MIB;
const WARM_UP_BYTES = 64 * MIB;
const LIMIT_MS = 120_000;
const PROLOGUE = Buffer.from('QEVM');

interface Measured {
  readonly content: string;
  readonly encoding: ContentEncoding;
  readonly ms: number;
  readonly cpuMs: number;
  readonly mbPerSecond: number;
  readonly wireBytes: number;
}

export const peerBench: Bench = {
  name: 'peer',
  about: 'memory from one agent to another over TLS on loopback',
  run: async (context) => describe(await measureAll(context)),
};

async function measureAll({ signal, progress }: BenchContext): Promise<readonly Measured[]> {
  const measured: Measured[] = [];
  const cases = [
    ['random', 'plain'],
    ['random', 'zstd'],
    ['text', 'plain'],
    ['text', 'zstd'],
  ] as const;
  await measure('random', { encoding: 'plain', bytes: WARM_UP_BYTES });
  for (const [content, encoding] of cases) {
    progress(`${MEMORY_BYTES / MIB} MiB of ${content}, ${encoding}`);
    measured.push(await measure(content, { encoding, bytes: MEMORY_BYTES }));
    signal.throwIfAborted();
  }
  return measured;
}

async function measure(
  content: 'random' | 'text',
  { encoding, bytes }: { readonly encoding: ContentEncoding; readonly bytes: number },
): Promise<Measured> {
  await using folder = await makeFolder();
  await using hosts = await enrolPeers();
  using pair = await connectPeers(hosts);
  const images = await makeImages(join(folder.dir, 'source'), bytes);
  fill(images.memory, content);
  const target = new Receiver({
    connection: pair.target,
    open: () => makeImages(join(folder.dir, 'target'), bytes),
    store: undefined,
    onFilled: () => {},
    onToken: () => {},
  });
  const layout = () =>
    areasOf(images).map(({ id, ranges }) => ({
      area: id,
      ranges: Array.from({ length: ranges }, () => ({ kind: 'peer' }) as const),
    }));
  const machine = machineOf(bytes);
  const source = new Sender({
    ...{ connection: pair.source, images, machine, layout, encoding },
    onToken: () => {},
  });
  await source.start(AbortSignal.timeout(LIMIT_MS));
  const before = process.cpuUsage();
  const beganMs = performance.now();
  await source.finish({ prologue: PROLOGUE, deviceState: [] });
  const arrival = await target.arrived;
  const ms = performance.now() - beganMs;
  const { user, system } = process.cpuUsage(before);
  await images.disk.close();
  await arrival.images.disk.close();
  const wireBytes = source.figures.sentBytes;
  const mbPerSecond = bytes / 1e6 / (ms / 1000);
  return { content, encoding, ms, cpuMs: (user + system) / 1000, mbPerSecond, wireBytes };
}

async function makeFolder() {
  const dir = await mkdtemp(join(tmpdir(), 'peer-bench-'));
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

function machineOf(bytes: number): Machine {
  return {
    blocks: [{ name: 'm1', sizeBytes: bytes }],
    prologue: PROLOGUE.toString('base64'),
    ramSectionId: 2,
    diskBytes: CLUSTER_BYTES,
    facts: null,
  };
}

async function makeImages(path: string, bytes: number): Promise<VmImages> {
  const disk = await DiskImage.create({ path, sizeBytes: CLUSTER_BYTES });
  const blocks = [{ name: 'm1', sizeBytes: bytes }];
  return { memory: new MemoryImage({ blocks, base: undefined }), disk };
}

function fill(memory: MemoryImage, content: 'random' | 'text'): void {
  const page = Buffer.alloc(PAGE_BYTES);
  const pages = (memory.blocks[0]?.sizeBytes ?? 0) / PAGE_BYTES;
  for (let at = 0; at < pages; at += 1) {
    if (content === 'random') randomFillSync(page);
    else page.write(`page ${at} of a guest that keeps its notes in plain words; `.repeat(80));
    memory.putPage(0, at * PAGE_BYTES, page);
  }
}

function describe(measured: readonly Measured[]): BenchResult {
  const rows = measured.map((one) => [
    one.content,
    one.encoding,
    formatNumber(MEMORY_BYTES / MIB),
    formatNumber(one.wireBytes / MIB),
    formatNumber(one.ms),
    formatNumber(one.cpuMs),
    formatNumber(one.mbPerSecond),
    formatNumber(MEMORY_BYTES / 1e6 / (one.cpuMs / 1000)),
  ]);
  const headings = ['memory', 'encoding', 'MiB', 'MiB sent', 'ms', 'CPU ms', 'MB/s', 'MB/CPU s'];
  return {
    tables: [{ title: 'one move of memory, both ends in one thread', headings, rows }],
    targets: [],
    figures: { measured },
  };
}
