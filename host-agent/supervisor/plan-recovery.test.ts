import { expect, test } from 'vitest';
import { POOL } from '../../test/fixtures/protocol.ts';
import { startedHere, type VmJournal } from '../journal/token.ts';
import { HostId, MigrationId, VmId } from '../protocol/ids.ts';
import { reportEnded, reportPreparing } from './compose-report.ts';
import { planRecovery } from './plan-recovery.ts';

const vmId = VmId.parse('vm-1');
const held = startedHere({
  vmId,
  class: { vcpus: 1, memoryMib: 512, diskGib: 1, arch: 'x64' },
  pool: POOL,
  nowMs: 1,
});
const end = reportEnded(reportPreparing(held), { failed: true, why: 'it died', nowMs: 2 });
const over: VmJournal = { ...held, ended: end };
const move = { migrationId: MigrationId.parse('m1'), epoch: 2, hostId: HostId.parse('h2') };
const given: VmJournal = { ...held, epoch: 2, holder: { kind: 'given', move } };
const reserved: VmJournal = { ...held, epoch: 2, holder: { kind: 'reserved', move } };
const refused: VmJournal = { ...held, epoch: 2, holder: { kind: 'refused', move, why: 'no' } };

const parking: VmJournal = { ...held, parking: { epoch: 2, stoppedAtMs: 1 } };

test.each<[string, VmJournal[], boolean, string[]]>([
  ['a held VM with its folder', [held], true, ['adopt']],
  ['a held VM that never got a folder', [held], false, ['bury']],
  ['a VM that was being parked', [parking], true, ['settle']],
  ['a parked VM whose end is journalled', [{ ...parking, ended: end }], true, ['remember']],
  [
    'a VM that left after a parking came to nothing',
    [{ ...given, parking: { epoch: 2, stoppedAtMs: 1 } }],
    true,
    ['ask'],
  ],
  ['an ended VM', [over], true, ['remember']],
  ['an ended VM without a folder', [over], false, ['remember']],
  ['a VM that was given away', [given], true, ['ask']],
  ['a VM that is to come', [reserved], true, ['ask']],
  ['a VM that was refused', [refused], false, ['ask']],
  ['a folder without a journal', [], true, ['remove']],
  ['nothing', [], false, []],
])('%s', (_name, journals, hasFolder, kinds) => {
  const steps = planRecovery({ journals, folders: hasFolder ? [vmId] : [] });
  expect(steps.map(({ kind }) => kind)).toEqual(kinds);
});
