/** A machine goes over a real connection between two hosts, beside a store that is not always good. */
import { expect, test } from 'vitest';
import type { ChunkRef } from '../../../host-agent/chunks/chunk-codec.ts';
import {
  PeerProtocolError,
  PeerRefusedError,
} from '../../../host-agent/migration/peer/peer-errors.ts';
import { DISK_AREA, type PeerFrame } from '../../../host-agent/migration/peer/peer-frames.ts';
import { DEFAULT_FILL_LIMITS } from '../../../host-agent/migration/transfer/chunk-filler.ts';
import type { ChunkFault } from '../../fakes/chunks/memory-chunk-store.ts';
import { changeImages, differences } from '../../fakes/vm-images/random-vm.ts';
import { MACHINE, openMove, PROLOGUE, STATE } from './moving-vm.ts';
import { enrolPeers } from './peer-hosts.ts';

const limits = { ...DEFAULT_FILL_LIMITS, stallMs: 200, storeMs: 600_000, batchChunks: 16 };
const END = { prologue: PROLOGUE, deviceState: [STATE] };

const everyThird = (fault: ChunkFault) => {
  let count = 0;
  return (_ref: ChunkRef) => (count++ % 3 === 0 ? fault : undefined);
};

test.each<[string, (ref: ChunkRef) => ChunkFault | undefined]>([
  ['good', () => undefined],
  ['losing chunks', everyThird('missing')],
  ['damaging chunks', everyThird('damaged')],
  ['cutting chunks short', everyThird('short')],
  ['gone', () => 'unavailable'],
  ['silent', () => 'never'],
  ['silent after a while', everyThird('never')],
])('the target has what the source had, beside a store that is %s', async (what, fault) => {
  await using hosts = await enrolPeers();
  await using move = await openMove(hosts, { seed: what.length, limits, fault });
  await move.source.start(AbortSignal.timeout(10_000));
  for (let round = 0; round < 5; round += 1) {
    await changeImages(move.sourceImages, { ...move.guest, changes: 40 });
    const { sentBytes } = await move.source.round(500_000);
    expect(sentBytes).toBeLessThan(1_200_000);
  }
  await move.source.finish(END);
  const { images, deviceState } = await move.target.arrived;
  expect(deviceState).toEqual(STATE);
  expect(await differences(move.sourceImages, images)).toEqual([]);
  const { fromStoreBytes } = move.target.figures;
  if (what === 'good') expect(fromStoreBytes).toBeGreaterThan(0);
  await move.target.sendLoaded();
  await move.source.loaded(AbortSignal.timeout(5_000));
});

test('a store that is merely slow is not waited for beyond its patience', async () => {
  await using hosts = await enrolPeers();
  const patience = { ...limits, stallMs: 600_000, storeMs: 100 };
  await using move = await openMove(hosts, { seed: 29, limits: patience, fault: () => 'never' });
  await move.source.start(AbortSignal.timeout(10_000));
  await move.source.finish(END);
  const { images } = await move.target.arrived;
  expect(await differences(move.sourceImages, images)).toEqual([]);
});

test('a target is settled when it awaits nothing and has passed on what came', async () => {
  await using hosts = await enrolPeers();
  let passedOn = 0;
  const passOn = async () => {
    passedOn += 1;
  };
  const fault = everyThird('missing');
  await using move = await openMove(hosts, { seed: 40, limits, fault, passOn });
  await move.source.start(AbortSignal.timeout(10_000));
  while (move.source.figures.leftBytes > 0 || passedOn === 0) {
    await move.source.round(Number.POSITIVE_INFINITY);
    await move.source.settle(AbortSignal.timeout(10_000));
  }
  expect(move.target.figures.storeRangesLeft).toBe(0);
  expect(await differences(move.sourceImages, move.targetImages)).toEqual([]);
});

test('who waits for a target to settle hears of the end', async () => {
  await using hosts = await enrolPeers();
  const passOn = () => Promise.reject(new Error('QEMU takes nothing'));
  await using move = await openMove(hosts, { seed: 41, limits, fault: undefined, passOn });
  await move.source.start(AbortSignal.timeout(10_000));
  await expect(move.source.settle(AbortSignal.timeout(10_000))).rejects.toThrow(/takes nothing/);
});

test('no store at all: everything comes from the source', async () => {
  await using hosts = await enrolPeers();
  await using move = await openMove(hosts, { seed: 30, limits, fault: undefined });
  await move.source.start(AbortSignal.timeout(10_000));
  await move.source.finish(END);
  const { images } = await move.target.arrived;
  expect(await differences(move.sourceImages, images)).toEqual([]);
  expect(move.source.figures.leftBytes).toBe(0);
});

test('compressed content arrives as well', async () => {
  await using hosts = await enrolPeers();
  const plain = await bytesOf(hosts, 'plain');
  expect(await bytesOf(hosts, 'zstd')).toBeLessThan(plain / 4);
});

async function bytesOf(hosts: Awaited<ReturnType<typeof enrolPeers>>, encoding: 'plain' | 'zstd') {
  await using move = await openMove(hosts, { seed: 31, limits, fault: undefined, encoding });
  await move.source.start(AbortSignal.timeout(10_000));
  await move.source.finish(END);
  const { images } = await move.target.arrived;
  expect(await differences(move.sourceImages, images)).toEqual([]);
  return move.source.figures.sentBytes - STATE.length;
}

test('tokens go both ways, also after the end', async () => {
  await using hosts = await enrolPeers();
  await using move = await openMove(hosts, { seed: 32, limits, fault: undefined });
  await move.source.start(AbortSignal.timeout(10_000));
  await move.source.finish(END);
  await move.target.arrived;
  await move.source.sendToken({ kind: 'give', epoch: 2 });
  expect(await move.tokenAtTarget).toEqual({ kind: 'give', epoch: 2 });
  await move.target.sendToken({ kind: 'received', epoch: 2 });
  expect(await move.tokenAtSource).toEqual({ kind: 'received', epoch: 2 });
});

test('a source that gives up, a target that does: both know why, and the images of the source stay', async () => {
  await using hosts = await enrolPeers();
  for (const giver of ['source', 'target'] as const) {
    await using move = await openMove(hosts, { seed: 33, limits, fault: undefined });
    await move.source.start(AbortSignal.timeout(10_000));
    await move.source.round(100_000);
    move[giver].abort('no room for the VM');
    const other =
      giver === 'source' ? move.target.arrived : move.source.loaded(AbortSignal.timeout(5_000));
    await expect(other).rejects.toThrow(PeerRefusedError);
    await expect(other).rejects.toThrow(/no room/);
    await expect(move.source.finish(END)).rejects.toThrow(/no room/);
  }
});

test('a target that cannot open its images tells the source', async () => {
  await using hosts = await enrolPeers();
  const open = () => Promise.reject(new Error('block m0 has another size here'));
  await using move = await openMove(hosts, { seed: 34, limits, fault: undefined, open });
  await expect(move.source.start(AbortSignal.timeout(10_000))).rejects.toThrow(/another size/);
});

test('a machine that is not the announced one does not end its move', async () => {
  await using hosts = await enrolPeers();
  await using move = await openMove(hosts, { seed: 35, limits, fault: undefined });
  await move.source.start(AbortSignal.timeout(10_000));
  const other = { prologue: Buffer.from('another'), deviceState: [STATE] };
  await expect(move.source.finish(other)).rejects.toThrow(/not the one/);
  await expect(move.target.arrived).rejects.toThrow(PeerRefusedError);
});

const page = { unitBytes: 4096, content: Buffer.alloc(4096, 1), encoding: 'plain' } as const;

test.each<[string, PeerFrame[]]>([
  ['content before the machine', [{ kind: 'units', area: 0, units: [0], ...page }]],
  ['two machines', [MACHINE, MACHINE]],
  ['a page beyond its block', [MACHINE, { kind: 'units', area: 3, units: [1], ...page }]],
  ['a page of no block', [MACHINE, { kind: 'units', area: 9, units: [0], ...page }]],
  ['a page for the disk', [MACHINE, { kind: 'units', area: DISK_AREA, units: [0], ...page }]],
  [
    'zeros beyond the block',
    [MACHINE, { kind: 'zero-units', area: 3, runs: [{ first: 0, count: 2 }] }],
  ],
  [
    'a layout with a gap',
    [MACHINE, { kind: 'layout', area: 0, first: 1, runs: [{ kind: 'base', count: 1 }] }],
  ],
  ['what only targets say', [MACHINE, { kind: 'loaded' }]],
  [
    'an end that counts what did not come',
    [MACHINE, { kind: 'end', units: 1, zeroUnits: 0, deviceStateBytes: 0, answeredRanges: 0 }],
  ],
])('refuses %s', async (_what, frames) => {
  await using hosts = await enrolPeers();
  await using move = await openMove(hosts, { seed: 36, limits, fault: undefined });
  for (const frame of frames) await move.connection.send(frame);
  await expect(move.target.arrived).rejects.toThrow(PeerProtocolError);
  await expect(move.source.loaded(AbortSignal.timeout(5_000))).rejects.toThrow(PeerRefusedError);
});
