/** The devices' state goes on to QEMU while the source still saves it, where nothing else is awaited. */
import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { MemoryChunkStore } from '../../../test/fakes/chunks/memory-chunk-store.ts';
import {
  BLOCKS,
  changeImages,
  DISK_BYTES,
  differences,
  makeBase,
  makeImages,
  seeded,
} from '../../../test/fakes/vm-images/random-vm.ts';
import { PeerConnection } from '../peer/peer-connection.ts';
import { PeerProtocolError } from '../peer/peer-errors.ts';
import { encodeFrame } from '../peer/peer-frames.ts';
import { Sealer } from '../seal/sealer.ts';
import { Receiver } from './receiver.ts';
import { Sender } from './sender.ts';

const signal = AbortSignal.timeout(60_000);
const PROLOGUE = Buffer.from('QEVM');
const PIECES = ['first', 'second', 'third'].map((text) => Buffer.from(text));

/** `sealed`: half of it is in a store, which the target does not have. */
async function openMove(how: { readonly sealed: boolean }) {
  const chance = seeded(3);
  const base = makeBase(chance);
  const [images, targetImages] = [await makeImages(base), await makeImages(base)];
  await changeImages(images, { chance, base, changes: 100 });
  const sealer = new Sealer({ ...images, store: new MemoryChunkStore() });
  const ranges = how.sealed ? sealer.unsealed().filter((_, at) => at % 2 === 0) : [];
  await sealer.step(ranges, { limitBytes: Number.POSITIVE_INFINITY, signal });
  const [near, far] = duplexPair();
  const connections = [near, far].map((socket) => new PeerConnection(socket));
  for (const connection of connections) connection.trust();
  const [here, there] = connections;
  if (here === undefined || there === undefined) throw new Error('two ends');
  const prologue = PROLOGUE.toString('base64');
  const machine = { blocks: [...BLOCKS], prologue, ramSectionId: 2, diskBytes: DISK_BYTES };
  const source = new Sender({
    ...{ connection: here, images, machine: { ...machine, facts: null } },
    layout: () => sealer.layout(),
    onToken: () => {},
  });
  const passedOn: string[] = [];
  const first = Promise.withResolvers<void>();
  const target = new Receiver({
    ...{ connection: there, open: () => Promise.resolve(targetImages), store: undefined },
    onFilled: () => {},
    onToken: () => {},
    onDeviceState: (piece) => {
      passedOn.push(piece.toString());
      first.resolve();
    },
  });
  const end = async () => {
    source.close();
    target.close();
    for (const each of [images, targetImages]) await each[Symbol.asyncDispose]();
  };
  const firstPassedOn = first.promise;
  return { source, target, near, images, passedOn, firstPassedOn, [Symbol.asyncDispose]: end };
}

test('each piece is passed on as it comes, when all of memory and disk is there', async () => {
  await using move = await openMove({ sealed: false });
  const { source, target, images, passedOn, firstPassedOn } = move;
  await source.start(signal);
  async function* slowly() {
    yield PIECES[0] ?? Buffer.alloc(0);
    // QEMU at the source is not done before QEMU at the target has begun.
    await firstPassedOn;
    yield* PIECES.slice(1);
  }
  await source.finish({ prologue: PROLOGUE, deviceState: slowly() });
  const arrival = await target.arrived;
  expect(await differences(images, arrival.images)).toEqual([]);
  expect(arrival.deviceState).toEqual(Buffer.concat(PIECES));
  expect(arrival.isPassedOn).toBe(true);
  expect(passedOn).toEqual(['first', 'second', 'third']);
});

test('nothing is passed on where the target had to ask for a part of memory again', async () => {
  await using move = await openMove({ sealed: true });
  const { source, target, images, passedOn } = move;
  await source.start(signal);
  await source.finish({ prologue: PROLOGUE, deviceState: PIECES });
  const arrival = await target.arrived;
  expect(await differences(images, arrival.images)).toEqual([]);
  expect(arrival.deviceState).toEqual(Buffer.concat(PIECES));
  expect(arrival.isPassedOn).toBe(false);
  expect(passedOn).toEqual([]);
});

test('a source that sends memory after it said devices is not believed', async () => {
  await using move = await openMove({ sealed: false });
  const { source, target, near, firstPassedOn } = move;
  await source.start(signal);
  async function* withMemoryAfter() {
    yield PIECES[0] ?? Buffer.alloc(0);
    await firstPassedOn;
    near.write(encodeFrame({ kind: 'zero-units', area: 0, runs: [{ first: 0, count: 1 }] }));
  }
  const finished = source.finish({ prologue: PROLOGUE, deviceState: withMemoryAfter() });
  await expect(target.arrived).rejects.toThrow(PeerProtocolError);
  await expect(target.arrived).rejects.toThrow(/after the devices/);
  await finished.catch(() => undefined);
});

test('a state that breaks off ends the move at both sides', async () => {
  await using move = await openMove({ sealed: false });
  const { source, target } = move;
  await source.start(signal);
  function* broken() {
    yield PIECES[0] ?? Buffer.alloc(0);
    throw new Error("QEMU's stream ended");
  }
  await expect(source.finish({ prologue: PROLOGUE, deviceState: broken() })).rejects.toThrow();
  await expect(target.arrived).rejects.toThrow(/cannot send/);
});
