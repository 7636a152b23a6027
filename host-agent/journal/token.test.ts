import { expect, test } from 'vitest';
import { POOL, vmReport } from '../../test/fixtures/protocol.ts';
import { HostId, VmId } from '../protocol/ids.ts';
import { canRun, ended, startedHere, VmJournal } from './token.ts';

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

test('what was given away does not run', () => {
  const to = HostId.parse('host-2');
  expect(canRun({ ...journal, epoch: 2, holder: { kind: 'given', to } })).toBe(false);
});

test('a journal reads back as it was written', () => {
  expect(VmJournal.parse(JSON.parse(JSON.stringify(ended(journal, report))))).toEqual(
    ended(journal, report),
  );
});
