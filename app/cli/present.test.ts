import { expect, test } from 'vitest';
import { jobRecord, vmRecord } from '../../test/fixtures/records.ts';
import { HostView, viewJob, viewVm } from '../api/views.ts';
import { presentHosts, presentJob, presentVms } from './present.ts';
import { formatDuration, formatTable } from './table.ts';

const shape = { vcpus: 4, memoryMib: 16_384, diskGib: 40, arch: 'x64' } as const;
const lost = { state: 'lost', why: 'QEMU ended with signal 9.', vmId: 'vm-1' } as const;
const vm = viewVm(
  vmRecord({ phase: 'busy', class: shape, forJob: '7', runsJob: '7', createdAtMs: 0 }),
);

test('columns are as wide as their widest cell and lines have no tail', () => {
  expect(
    formatTable(
      ['A', 'LONG'],
      [
        ['wide', 'x'],
        ['y', ''],
      ],
    ),
  ).toBe('A     LONG\nwide  x\ny');
});

test.each([
  [850, '850 ms'],
  [4_200, '4.2 s'],
  [185_000, '3 min 5 s'],
  [7_800_000, '2 h 10 min'],
  [-5, '0 ms'],
])('%d ms reads %s', (durationMs, text) => {
  expect(formatDuration(durationMs)).toBe(text);
});

test('a lost job shows why, where and when', () => {
  const detail = {
    job: viewJob(jobRecord({ ...lost, class: shape })),
    vm,
    waiting: null,
    timeline: [
      { moment: 'in-progress' as const, atMs: 1_500 },
      { moment: 'webhook-received' as const, atMs: 0 },
    ],
    moves: [],
    lockMarginMs: null,
    cost: { usd: 0.01, onDemandUsd: 0.04 },
  };
  const text = presentJob(detail, 65_000);
  expect(text).toContain('cost        $0.0100; on demand $0.0400 (75 % saved)');
  expect(text).toContain('why         QEMU ended with signal 9.');
  expect(text).toContain('host        host-1');
  expect(text).toMatch(/\+0 ms +webhook-received\n.*\+1\.5 s +in-progress$/);
  expect(text).not.toContain('conclusion');
  const waiting = { cause: 'jit-paced' as const, why: 'GitHub has limits.', sinceMs: 5_000 };
  expect(presentJob({ ...detail, waiting }, 65_000)).toContain(
    'waits       jit-paced, for 1 min 0 s: GitHub has limits.',
  );
});

test('VMs are listed with their job', () => {
  expect(presentVms([vm], 2_000)).toMatch(/vm-1 +busy +host-1 +4cpu-16gb +7 +2\.0 s$/);
  expect(presentVms([], 0)).toBe('No VMs.');
});

test.each([
  [null, ''],
  [{ kind: 'interruption', deadlineMs: 65_000 }, 'goes away in 1 min 0 s'],
  [{ kind: 'interruption', deadlineMs: null }, 'its cloud takes it back'],
  [{ kind: 'rebalance', deadlineMs: null }, 'its cloud may take it back soon'],
])('a host with the notice %j is remarked on: %s', (notice, remark) => {
  const host = HostView.parse({
    id: 'host-1',
    hostname: 'one',
    state: 'connected',
    why: null,
    stateSinceMs: 0,
    facts: null,
    capacity: null,
    vms: [],
    artifacts: [],
    notice: notice === null ? null : { ...notice, source: 'ec2', seenAtMs: 0 },
    drained: false,
  });
  const [, line = ''] = presentHosts([host], 5_000).split('\n');
  expect(line.endsWith(remark === '' ? '5.0 s' : `5.0 s  ${remark}`)).toBe(true);
});
