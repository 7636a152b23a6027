import { expect, test } from 'vitest';
import { HostId, MigrationId, VmId } from '../protocol/ids.ts';
import { MoveLog } from './move-log.ts';

const DAY_MS = 86_400_000;
const ID = MigrationId.parse('mig-1');
const OF = {
  vmId: VmId.parse('vm-1'),
  role: 'source',
  peer: HostId.parse('h-1'),
  epoch: 2,
} as const;

function logOf(clocks: { wallMs: number; steadyMs: number }) {
  const log = new MoveLog({
    nowMs: () => clocks.wallMs,
    steadyMs: () => clocks.steadyMs,
    onChange: () => undefined,
  });
  log.begin({ migrationId: ID, ...OF });
  return log;
}

test('an end is kept for a while, whatever the wall clock does', () => {
  const clocks = { wallMs: DAY_MS, steadyMs: 0 };
  const log = logOf(clocks);
  log.enter(ID, { phase: 'done', blackoutMs: 20 });
  clocks.wallMs += DAY_MS;
  expect(log.reports()).toMatchObject([{ phase: 'done', blackoutMs: 20, endedAtMs: DAY_MS }]);
  clocks.steadyMs += DAY_MS;
  expect(log.reports()).toEqual([]);
});

test('a move that is under way is never forgotten', () => {
  const clocks = { wallMs: DAY_MS, steadyMs: 0 };
  const log = logOf(clocks);
  clocks.steadyMs += DAY_MS;
  expect(log.reports()).toMatchObject([{ phase: 'reserving', endedAtMs: null }]);
});

test('nothing changes an end', () => {
  const log = logOf({ wallMs: 0, steadyMs: 0 });
  log.enter(ID, { phase: 'aborted', why: 'no' });
  log.enter(ID, { phase: 'done' });
  expect(log.get(ID)).toMatchObject({ phase: 'aborted', why: 'no' });
});
