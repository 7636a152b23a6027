import { expect, test } from 'vitest';
import { POOL, vmReport } from '../../test/fixtures/protocol.ts';
import { HostId, MigrationId, VmId } from '../protocol/ids.ts';
import {
  canRun,
  ended,
  reservedHere,
  rewritten,
  startedHere,
  type TokenHolder,
  VmJournal,
} from './token.ts';

const journal = startedHere({
  vmId: VmId.parse('vm-1'),
  class: { vcpus: 2, memoryMib: 1024, diskGib: 10, arch: 'x64' },
  pool: POOL,
  nowMs: 1000.7,
});
const report = vmReport({ phase: 'stopped', class: journal.class, why: 'done', stoppedAtMs: 2 });

test('a VM started here is held here, in its first epoch', () => {
  expect(journal).toMatchObject({ epoch: 1, holder: { kind: 'self' }, startedAtMs: 1001 });
  expect(canRun(journal)).toBe(true);
});

test('what ended does not run again, and keeps its last word', () => {
  const last = ended(journal, report);
  expect(canRun(last)).toBe(false);
  expect(last.ended).toEqual(report);
});

const move = {
  migrationId: MigrationId.parse('move-1'),
  epoch: 2,
  hostId: HostId.parse('host-2'),
};

test.each<TokenHolder>([
  { kind: 'given', move },
  { kind: 'reserved', move },
  { kind: 'refused', move, why: 'no room' },
])('what is $kind does not run', (holder) => {
  expect(canRun(rewritten(journal, { epoch: 2, holder, lease: null }))).toBe(false);
});

test('a reservation is a journal that does not run', () => {
  const entry = { epoch: 2, holder: { kind: 'reserved', move }, lease: null } as const;
  const vm = { vmId: journal.vmId, class: journal.class, pool: POOL, nowMs: 1 };
  const reserved = reservedHere({ ...vm, entry, assignedJob: null });
  expect(canRun(reserved)).toBe(false);
  expect(VmJournal.parse(reserved)).toEqual(reserved);
});

test('a journal of before VMs could move is read as held here', () => {
  const { lease, assignedJob, ...rest } = ended(journal, report);
  const old = { ...rest, format: 1, holder: { kind: 'self' } };
  expect(VmJournal.parse(old)).toEqual(ended(journal, report));
  expect([lease, assignedJob]).toEqual([null, null]);
});

test('a journal reads back as it was written', () => {
  expect(VmJournal.parse(JSON.parse(JSON.stringify(ended(journal, report))))).toEqual(
    ended(journal, report),
  );
});
