/** A source and a target with images of their own, connected as two hosts are. */

import type { ChunkRef } from '../../../host-agent/chunks/chunk-codec.ts';
import type { ContentEncoding } from '../../../host-agent/migration/peer/content-encoding.ts';
import type { Machine } from '../../../host-agent/migration/peer/peer-frames.ts';
import { Sealer } from '../../../host-agent/migration/seal/sealer.ts';
import type { VmImages } from '../../../host-agent/migration/transfer/areas.ts';
import type { FillLimits } from '../../../host-agent/migration/transfer/chunk-filler.ts';
import { Receiver } from '../../../host-agent/migration/transfer/receiver.ts';
import { Sender } from '../../../host-agent/migration/transfer/sender.ts';
import { type ChunkFault, MemoryChunkStore } from '../../fakes/chunks/memory-chunk-store.ts';
import {
  BLOCKS,
  changeImages,
  DISK_BYTES,
  makeBase,
  makeImages,
  seeded,
} from '../../fakes/vm-images/random-vm.ts';
import { connectPeers, type PeerHosts } from './peer-hosts.ts';

export const PROLOGUE = Buffer.from('QEVM and what follows');
export const STATE = Buffer.alloc(2_500_000, 'devices');

export const MACHINE: Machine & { readonly kind: 'machine' } = {
  kind: 'machine',
  blocks: [...BLOCKS],
  prologue: PROLOGUE.toString('base64'),
  ramSectionId: 2,
  diskBytes: DISK_BYTES,
  facts: { pool: 'small' },
};

export interface MoveSpec {
  readonly seed: number;
  readonly limits: FillLimits;
  /** Undefined: there is no store. */
  readonly fault: ((ref: ChunkRef) => ChunkFault | undefined) | undefined;
  readonly encoding?: ContentEncoding;
  readonly open?: () => Promise<VmImages>;
  readonly passOn?: () => Promise<void>;
}

/** The source's VM has run for a while and about half of what it changed is sealed. */
export async function openMove(hosts: PeerHosts, spec: MoveSpec) {
  const chance = seeded(spec.seed);
  const base = makeBase(chance);
  const guest = { chance, base };
  const sourceImages = await makeImages(base);
  const targetImages = await makeImages(base);
  const store = new MemoryChunkStore();
  const sealer = new Sealer({ ...sourceImages, store });
  await changeImages(sourceImages, { ...guest, changes: 300 });
  if (spec.fault !== undefined) await sealSome(sealer);
  await changeImages(sourceImages, { ...guest, changes: 30 });
  store.fault = spec.fault ?? (() => undefined);
  const pair = await connectPeers(hosts);
  const atSource = Promise.withResolvers<unknown>();
  const atTarget = Promise.withResolvers<unknown>();
  const { kind: _, ...machine } = MACHINE;
  const target = new Receiver({
    connection: pair.target,
    open: spec.open ?? (() => Promise.resolve(targetImages)),
    store: spec.fault === undefined ? undefined : store,
    onFilled: () => {},
    onToken: atTarget.resolve,
    limits: spec.limits,
    ...(spec.passOn === undefined ? {} : { passOn: spec.passOn }),
  });
  const source = new Sender({
    connection: pair.source,
    images: sourceImages,
    machine,
    layout: () => sealer.layout(),
    onToken: atSource.resolve,
    ...(spec.encoding === undefined ? {} : { encoding: spec.encoding }),
  });
  return {
    ...{ guest, sourceImages, targetImages, source, target, connection: pair.source },
    tokenAtSource: atSource.promise,
    tokenAtTarget: atTarget.promise,
    [Symbol.asyncDispose]: async () => {
      pair[Symbol.dispose]();
      await sourceImages[Symbol.asyncDispose]();
      await targetImages[Symbol.asyncDispose]();
    },
  };
}
export type Move = Awaited<ReturnType<typeof openMove>>;

async function sealSome(sealer: Sealer): Promise<void> {
  const targets = sealer.unsealed().filter((_, at) => at % 2 === 0);
  const signal = AbortSignal.timeout(10_000);
  await sealer.step(targets, { limitBytes: Number.POSITIVE_INFINITY, signal });
}
