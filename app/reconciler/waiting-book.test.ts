import { expect, test } from 'vitest';
import { host, job, vm } from '../planner/moves-world.ts';
import type { Observed } from '../planner/observed.ts';
import { WaitingBook } from './waiting-book.ts';

const STILL = { migrations: [], wishes: [], leftCopies: [] };
const waiting = job(1, { state: 'queued', vmId: undefined, queuedAtMs: 5 });
const { id } = waiting;

function world(over: Partial<Observed>): Observed {
  return { ...STILL, jobs: [waiting], hosts: [], vms: [], ...over };
}

test('a cause is since the job was queued, the next since it came, and none is kept for long', () => {
  const book = new WaitingBook({ maxVms: 10 });
  book.look(world({}), 1_000);
  expect(book.causeOf(id)).toMatchObject({ cause: 'no-host', sinceMs: 5 });
  book.look(world({}), 3_000);
  expect(book.causeOf(id)).toMatchObject({ cause: 'no-host', sinceMs: 5 });
  const served = world({
    hosts: [host(1)],
    vms: [vm(1, { phase: 'idle', runsJob: undefined, forJob: id })],
  });
  book.notePaced(id);
  book.look(served, 3_500);
  expect(book.causeOf(id)).toMatchObject({ cause: 'no-host' });
  book.look(served, 5_000);
  expect(book.causeOf(id)).toMatchObject({ cause: 'jit-paced', sinceMs: 5_000 });
  book.look(served, 6_000);
  expect(book.causeOf(id)).toMatchObject({ cause: 'registering', sinceMs: 6_000 });
  book.look(world({ jobs: [] }), 8_000);
  expect(book.causeOf(id)).toBeUndefined();
  book.look(world({}), 10_000);
  book.clear();
  expect(book.causeOf(id)).toBeUndefined();
});
