import { expect, test } from 'vitest';
import { JobDetail, VmView } from '../api/views.ts';
import { presentJob, presentVms } from './present.ts';
import { formatDuration, formatTable } from './table.ts';

const shape = { vcpus: 4, memoryMib: 16_384, diskGib: 40, arch: 'x64' };
const vm = VmView.parse({
  id: 'vm-1',
  hostId: 'host-1',
  phase: 'busy',
  class: shape,
  forJob: '7',
  runsJob: '7',
  runnerId: 1,
  runnerName: 'architect-vm-1',
  qemuPid: null,
  guestKernel: null,
  accelerator: null,
  phaseSinceMs: 0,
  createdAtMs: 0,
  why: null,
});

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
  const detail = JobDetail.parse({
    job: {
      id: '7',
      origin: {
        installationId: 1,
        owner: 'acme',
        repo: 'site',
        scope: 'organization',
        runId: 9,
        headSha: 'f',
      },
      name: 'build',
      workflowName: 'CI',
      labels: ['architect'],
      class: shape,
      state: 'lost',
      why: 'QEMU ended with signal 9.',
      conclusion: null,
      runnerName: null,
      vmId: 'vm-1',
      vmsStarted: 1,
      queuedAtMs: 0,
      startedAtMs: null,
      completedAtMs: null,
    },
    vm,
    timeline: [
      { moment: 'in-progress', atMs: 1_500 },
      { moment: 'webhook-received', atMs: 0 },
    ],
    moves: [],
    lockMarginMs: null,
  });
  const text = presentJob(detail);
  expect(text).toContain('why         QEMU ended with signal 9.');
  expect(text).toContain('host        host-1');
  expect(text).toMatch(/\+0 ms +webhook-received\n.*\+1\.5 s +in-progress$/);
  expect(text).not.toContain('conclusion');
});

test('VMs are listed with their job', () => {
  expect(presentVms([vm], 2_000)).toMatch(/vm-1 +busy +host-1 +4cpu-16gb +7 +2\.0 s$/);
  expect(presentVms([], 0)).toBe('No VMs.');
});
