/** What a source sends while its target still fetches from the store. */
import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import {
  BLOCKS,
  DISK_BYTES,
  makeBase,
  makeImages,
  seeded,
} from '../../../test/fakes/vm-images/random-vm.ts';
import { PeerConnection } from '../peer/peer-connection.ts';
import { PAGE_BYTES } from '../stream/stream-format.ts';
import { areasOf } from './areas.ts';
import { Receiver } from './receiver.ts';
import { Sender } from './sender.ts';

const signal = AbortSignal.timeout(60_000);
const COLD = { maxHeat: 1 };
const EVERYTHING = Number.POSITIVE_INFINITY;

async function openMove() {
  const base = makeBase(seeded(1));
  const [here, there] = [await makeImages(base), await makeImages(base)];
  const [near, far] = duplexPair();
  const over = (socket: typeof near) => {
    const connection = new PeerConnection(socket);
    connection.trust();
    return connection;
  };
  const machine = {
    ...{ blocks: [...BLOCKS], prologue: '', ramSectionId: 2, diskBytes: DISK_BYTES, facts: null },
  };
  const layout = () =>
    areasOf(here).map(({ id, ranges }) => ({
      area: id,
      ranges: Array.from({ length: ranges }, () => ({ kind: 'base' }) as const),
    }));
  const onToken = () => {};
  const source = new Sender({ connection: over(near), images: here, machine, layout, onToken });
  const target = new Receiver({
    ...{ connection: over(far), open: async () => there, store: undefined, onToken },
    onFilled: () => {},
  });
  await source.start(signal);
  const write = (page: number, value: number) =>
    here.memory.putPage(0, page * PAGE_BYTES, Buffer.alloc(PAGE_BYTES, value));
  return {
    ...{ source, write },
    [Symbol.asyncDispose]: async () => {
      source.close();
      target.close();
      await Promise.all([here, there].map((images) => images[Symbol.asyncDispose]()));
    },
  };
}

test('what was sent and has changed again waits until everything is sent', async () => {
  await using move = await openMove();
  const { source, write } = move;
  write(0, 201);
  const first = await source.round(EVERYTHING, COLD);
  expect(first.sentBytes).toBeGreaterThan(PAGE_BYTES);
  write(0, 202);
  expect(await source.round(EVERYTHING, COLD)).toMatchObject({
    sentBytes: 0,
    leftBytes: PAGE_BYTES,
  });
  expect((await source.round(EVERYTHING)).leftBytes).toBe(0);
});
