/** The order of a parking, cut at each of its steps. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import type { QmpCall } from '../vm/qmp/qmp-client.ts';
import { VmGate } from './guest-gate.ts';
import { type ParkOutcome, park } from './park.ts';
import type { Settled } from './settle-parking.ts';
import type { DataCommands } from './worker/data-commands.ts';

const STEPS = [
  'pulse',
  'calm',
  'stop',
  'capture',
  'seal',
  'isKnown',
  'publish epoch 1',
  'intend',
  'publish epoch 2',
] as const;
type Step = (typeof STEPS)[number] | 'settle' | 'forget' | 'cont' | 'hangUp';

interface Fault {
  readonly at?: Step;
  readonly settled?: Settled;
  readonly isKnown?: boolean;
}

/** A VM in epoch 1 that is to be parked under epoch 2. */
async function parkVm({ at, settled = 'published', isKnown = false }: Fault) {
  const done: Step[] = [];
  const step = async (name: Step) => {
    done.push(name);
    if (name === at) throw new Error(`${name} failed`);
  };
  let migration = 'active';
  const point = (epoch: number) => (epoch === 1 ? 'publish epoch 1' : 'publish epoch 2');
  const handlers: Record<string, (request: unknown) => Promise<unknown>> = {
    calm: () => step('calm'),
    capture: async () => {
      await step('capture');
      return { ramSectionId: 2 };
    },
    seal: async () => {
      await step('seal');
      return { bytes: 1, ms: 1 };
    },
    isKnown: async () => {
      await step('isKnown');
      return isKnown;
    },
    publish: async (request) => {
      const { epoch } = z.object({ epoch: z.int() }).parse(request);
      await step(point(epoch));
      return { epoch, generation: 1 };
    },
    hangUp: () => step('hangUp'),
  };
  const data = {
    call: <K extends keyof DataCommands>(name: K, ...takes: Parameters<DataCommands[K]>) =>
      handlers[name]?.(takes[0]) as ReturnType<DataCommands[K]>,
  };
  const run = async (command: string) => {
    if (command === 'stop') {
      migration = 'pre-switchover';
      await step('stop');
    }
    if (command === 'migrate-continue') migration = 'completed';
    if (command === 'migrate_cancel') migration = 'cancelled';
  };
  const qmp = {
    qemuVersion: '10',
    run,
    call: async <T>({ answer }: QmpCall<T>) => answer.parse({ status: migration }),
    onEvent: () => () => undefined,
    closed: new Promise<string>(() => undefined),
    close: () => undefined,
  };
  const gate = new VmGate({ mayRun: () => true, cont: () => step('cont') });
  const outcome: ParkOutcome = await park({
    ...{ qmp, data, gate, epoch: 1, parkEpoch: 2, jobId: null, wrappedKey: '' },
    pulseDisk: () => (done.includes('pulse') ? Promise.resolve() : step('pulse')),
    machine: () => ({}),
    nowMs: () => 0,
    deadlineMs: 60_000,
    settle: async () => {
      await step('settle');
      return settled;
    },
    journal: { intend: () => step('intend'), forget: () => step('forget') },
    signal: AbortSignal.timeout(10_000),
  });
  return { done, outcome, gate };
}

test('in order: the journal before what others can see', async () => {
  const { done, outcome, gate } = await parkVm({});
  expect(done.toSorted()).toEqual(STEPS.toSorted());
  expect(done.slice(-5)).toEqual(STEPS.slice(-5));
  expect(outcome).toEqual({ kind: 'parked', stoppedAtMs: 0 });
  expect(gate.isOpen).toBe(false);
});

test('a VM of which the store has a point already gets no other one first', async () => {
  const { done } = await parkVm({ isKnown: true });
  expect(done).not.toContain('publish epoch 1');
});

test.each(STEPS.filter((step) => step !== 'publish epoch 2'))(
  'when it fails at %s the guest runs on, and nothing is visible',
  async (at) => {
    const { done, outcome, gate } = await parkVm({ at });
    expect(outcome).toEqual({ kind: 'failed', why: `${at} failed` });
    expect(gate.isOpen).toBe(true);
    expect(done).not.toContain('publish epoch 2');
    expect(done.includes('cont')).toBe(done.includes('stop'));
    if (at === 'intend') expect(done).toContain('forget');
  },
);

test.each<[Settled, ParkOutcome['kind']]>([
  ['published', 'parked'],
  ['unknown', 'parked'],
  ['fenced', 'failed'],
])('when nobody knows whether it is visible, and the store says %s', async (settled, kind) => {
  const { done, outcome, gate } = await parkVm({ at: 'publish epoch 2', settled });
  expect(outcome.kind).toBe(kind);
  expect(gate.isOpen).toBe(kind === 'failed');
  expect(done.includes('cont')).toBe(kind === 'failed');
  if (kind === 'failed') expect(done.indexOf('forget')).toBeLessThan(done.indexOf('cont'));
});
