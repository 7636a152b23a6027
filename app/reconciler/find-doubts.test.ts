import { expect, test } from 'vitest';
import { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { fleetHost } from '../../test/fixtures/records.ts';
import type { ObservedMigration } from '../planner/observed.ts';
import { findDoubts } from './find-doubts.ts';

const [from, to, vmId] = [HostId.parse('host-1'), HostId.parse('host-2'), VmId.parse('vm-1')];
const one = fleetHost({ id: 'host-1' });
const two = fleetHost({ id: 'host-2' });

function move(over: Partial<ObservedMigration>): ObservedMigration {
  return {
    ...{ id: MigrationId.parse('m-1'), vmId, kind: 'live', from, to, epoch: 2 },
    ...{ phase: 'switchover', given: true, attempts: 0, sourceKnows: true, targetKnows: true },
    ...{ deadlineMs: 9, phaseSinceMs: 0, startedAtMs: 0, bytesLeft: 0 },
    ...over,
  };
}

test.each<[string, Partial<ObservedMigration>, number, boolean]>([
  ['stands since the token was given', {}, 5_000, true],
  ['was given just now', {}, 4_999, false],
  ['is not given', { given: false }, 5_000, false],
  ['is received', { phase: 'committed' }, 5_000, false],
  ['is over', { phase: 'done' }, 5_000, false],
])('a move that %s', (_name, over, nowMs, isDoubt) => {
  expect(findDoubts([one, two], [move(over)], nowMs)).toEqual(
    isDoubt ? [{ vmId, hostId: from }] : [],
  );
});

test('its target is asked first when its source is away, and nobody when both are', () => {
  const away = fleetHost({ id: 'host-1', state: 'away' });
  expect(findDoubts([away, two], [move({})], 5_000)).toEqual([{ vmId, hostId: to }]);
  expect(findDoubts([away], [move({})], 5_000)).toEqual([]);
});

test('a host that says so is asked', () => {
  const word = { kind: 'holds', epoch: 2, from: null, lease: null } as const;
  const sure = fleetHost({ id: 'host-1', report: { tokens: [{ vmId, word, doubt: false }] } });
  const unsure = fleetHost({ id: 'host-2', report: { tokens: [{ vmId, word, doubt: true }] } });
  expect(findDoubts([sure, unsure], [], 0)).toEqual([{ vmId, hostId: to }]);
  expect(findDoubts([sure, unsure], [move({})], 5_000)).toEqual([{ vmId, hostId: to }]);
});
