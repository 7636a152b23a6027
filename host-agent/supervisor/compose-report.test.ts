import { expect, test } from 'vitest';
import { POOL } from '../../test/fixtures/protocol.ts';
import { startedHere } from '../journal/token.ts';
import { JobId, VmId } from '../protocol/ids.ts';
import { VmReport } from '../protocol/vm-report.ts';
import { reportDriven, reportEnded, reportPreparing } from './compose-report.ts';

const journal = startedHere({
  vmId: VmId.parse('vm-1'),
  class: { vcpus: 1, memoryMib: 512, diskGib: 1, arch: 'x64' },
  pool: POOL,
  nowMs: 1,
});
const preparing = reportPreparing(journal);
const { epoch: _epoch, ...blank } = preparing;
const snapshot = {
  ...blank,
  phase: 'assigned',
  assignedJob: JobId.parse('7'),
  qemuPid: 42,
} as const;

test('before there is a driver the VM is allocating, in a report of the protocol', () => {
  expect(VmReport.parse(preparing)).toMatchObject({ phase: 'allocating', epoch: 1, qemuPid: null });
});

test('a driven VM is what its driver says', () => {
  const report = reportDriven(journal, snapshot, false);
  expect(report).toMatchObject({ phase: 'assigned', qemuPid: 42, epoch: 1, assignedJob: '7' });
});

test('a stopped VM drains until all of it is gone, a failed one is told at once', () => {
  const stopped = { ...snapshot, phase: 'stopped' } as const;
  const failed = { ...snapshot, phase: 'failed' } as const;
  expect(reportDriven(journal, stopped, true).phase).toBe('draining');
  expect(reportDriven(journal, failed, true).phase).toBe('failed');
});

test('the last word keeps the first cause and the job', () => {
  const last = { ...preparing, ...snapshot, phase: 'failed', why: 'QEMU died' } as const;
  const end = { failed: false, why: 'stopped by the control plane', nowMs: 5.4 };
  expect(reportEnded(last, end)).toMatchObject({
    phase: 'failed',
    why: 'QEMU died',
    assignedJob: '7',
    qemuPid: null,
    stoppedAtMs: 5,
  });
});

test('a long cause is cut to what the protocol takes', () => {
  const end = { failed: true, why: 'x'.repeat(2000), nowMs: 5 };
  expect(VmReport.parse(reportEnded(preparing, end)).why).toHaveLength(500);
});

test('a parked VM has stopped, whatever its QEMU said last', () => {
  const last = { ...preparing, ...snapshot, phase: 'failed', why: 'QEMU died' } as const;
  const end = { failed: false, why: 'its host goes away', nowMs: 9 };
  const parked = reportEnded(last, { ...end, parked: { stoppedAtMs: 5 } });
  const wanted = { phase: 'stopped', parked: true, stoppedAtMs: 5, why: 'its host goes away' };
  expect(VmReport.parse(parked)).toMatchObject(wanted);
  const neverRan = reportEnded(preparing, { ...end, parked: { stoppedAtMs: null } });
  expect(neverRan).toMatchObject({ phase: 'stopped', parked: true, stoppedAtMs: 9 });
});
