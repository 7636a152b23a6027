import { pino } from 'pino';
import { beforeEach, expect, test } from 'vitest';
import { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { Step } from '../planner/step.ts';
import { StepRunner } from './step-runner.ts';

const vmId = VmId.parse('vm-1');
const migrationId = MigrationId.parse('mig-1');
const [from, to] = [HostId.parse('host-1'), HostId.parse('host-2')];
const move: Step = {
  ...{ kind: 'move-vm', migrationId, vmId, from, to, epoch: 2, deadlineMs: 9, cpuShare: 1 },
  because: 'a notice',
};
const why = 'Its source did not take it up in time.';
const abort: Step = {
  ...{ kind: 'abort-migration', migrationId, vmId, source: from, target: to, why },
};

let nowMs: number;
let ran: string[];
let fails: boolean;
let runner: StepRunner;
beforeEach(() => {
  [nowMs, ran, fails] = [0, [], false];
  runner = new StepRunner({
    prepare: async ({ kind }) => {
      ran.push(kind);
      if (fails) throw new Error('no');
      return undefined;
    },
    onDone: () => undefined,
    now: () => nowMs,
    logger: pino({ level: 'silent' }),
  });
});

async function run(step: Step): Promise<void> {
  await runner.run([step]);
  await runner.drained();
}

test('a step that is done is not repeated before its effect can show', async () => {
  await run(move);
  await run(move);
  expect(ran).toEqual(['move-vm']);
  nowMs = 1_000;
  await run(move);
  expect(ran).toHaveLength(2);
});

test('a move is not aborted before its source, asked just now, can say that it took it up', async () => {
  await run(move);
  await run(abort);
  expect(ran).toEqual(['move-vm']);
  await run({ ...abort, migrationId: MigrationId.parse('mig-2') });
  nowMs = 1_000;
  await run(abort);
  expect(ran).toEqual(['move-vm', 'abort-migration', 'abort-migration']);
});

test('a step that failed rests for longer', async () => {
  fails = true;
  await run(move);
  nowMs = 2_999;
  await run(move);
  expect(ran).toHaveLength(1);
  nowMs = 3_000;
  await run(move);
  expect(ran).toHaveLength(2);
});
