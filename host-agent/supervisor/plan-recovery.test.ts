import { expect, test } from 'vitest';
import { startedHere, type VmJournal } from '../journal/token.ts';
import { PoolSpec } from '../protocol/host-facts.ts';
import { HostId, VmId } from '../protocol/ids.ts';
import { reportEnded, reportPreparing } from './compose-report.ts';
import { planRecovery } from './plan-recovery.ts';

const vmId = VmId.parse('vm-1');
const held = startedHere({
  vmId,
  class: { vcpus: 1, memoryMib: 512, diskGib: 1, arch: 'x64' },
  pool: PoolSpec.parse({
    id: 'small-x64-tcg',
    arch: 'x64',
    accelerator: 'tcg',
    cpuVendor: null,
    cpuModel: 'qemu64',
    machineType: 'pc-q35-8.2',
    image: `sha256:${'a'.repeat(64)}`,
    template: `sha256:${'b'.repeat(64)}`,
  }),
  nowMs: 1,
});
const end = reportEnded(reportPreparing(held), { failed: true, why: 'it died', nowMs: 2 });
const over: VmJournal = { ...held, ended: end };
const given: VmJournal = { ...held, epoch: 2, holder: { kind: 'given', to: HostId.parse('h2') } };

test.each<[string, VmJournal[], boolean, string[]]>([
  ['a held VM with its folder', [held], true, ['adopt']],
  ['a held VM that never got a folder', [held], false, ['bury']],
  ['an ended VM', [over], true, ['remember']],
  ['an ended VM without a folder', [over], false, ['remember']],
  ['a VM that was given away', [given], true, ['remove']],
  ['a folder without a journal', [], true, ['remove']],
  ['nothing', [], false, []],
])('%s', (_name, journals, hasFolder, kinds) => {
  const steps = planRecovery({ journals, folders: hasFolder ? [vmId] : [] });
  expect(steps.map(({ kind }) => kind)).toEqual(kinds);
});
