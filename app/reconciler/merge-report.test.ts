import { describe, expect, it } from 'vitest';
import { JobId } from '../../host-agent/protocol/ids.ts';
import type { VmPhase, VmReport } from '../../host-agent/protocol/vm-report.ts';
import { vmReport } from '../../test/fixtures/protocol.ts';
import { vmRecord } from '../../test/fixtures/records.ts';
import type { VmRecord } from '../records/records.ts';
import { mergeReport } from './merge-report.ts';

const JOB = JobId.parse('7');

function record(phase: VmPhase, over: Partial<VmRecord> = {}): VmRecord {
  return vmRecord({ phase, forJob: JOB, qemuPid: 1, ...over });
}

function report(phase: VmPhase, exited = false): VmReport {
  return vmReport({
    phase,
    runner: exited ? { state: 'exited', exitCode: 0 } : { state: 'running' },
    why: phase === 'failed' ? 'QEMU died' : null,
  });
}

function merged(before: VmRecord, said: VmReport | undefined, runsJob?: JobId): VmRecord {
  return mergeReport({ record: before, report: said, runsJob, nowMs: 9 });
}

describe('mergeReport', () => {
  it.each<[string, VmRecord, VmReport | undefined, VmPhase]>([
    ['moves on', record('starting'), report('idle'), 'idle'],
    ['never goes back', record('assigned'), report('idle'), 'assigned'],
    ['never leaves the end', record('failed'), report('idle'), 'failed'],
    ['sees the runner end', record('busy', { runsJob: JOB }), report('assigned', true), 'draining'],
    ['prefers the end to the runner’s', record('busy'), report('failed', true), 'failed'],
    ['knows nothing without a report', record('starting'), undefined, 'starting'],
  ])('%s', (_name, before, said, phase) => {
    expect(merged(before, said).phase).toBe(phase);
  });

  it('calls a VM busy when GitHub says that its runner has a job', () => {
    expect(merged(record('assigned'), report('assigned'), JOB)).toMatchObject({
      phase: 'busy',
      runsJob: JOB,
      phaseSinceMs: 9,
    });
  });

  it('does not take the end of one copy for the VM’s while it moves', () => {
    const before = record('busy', { runsJob: JOB });
    const isMoving = true;
    const after = mergeReport({
      ...{ record: before, runsJob: JOB, isMoving, nowMs: 9 },
      report: report('failed'),
    });
    expect(after).toBe(before);
  });

  it('keeps the newest checkpoint and the highest epoch', () => {
    const lastCheckpoint = { epoch: 1, generation: 4, atMs: 77 };
    const tracking = { bytesUnsealed: 0, bytesInStore: 0, dirtyBytesPerSecond: 0, lastCheckpoint };
    const said = { ...report('idle'), epoch: 3, tracking };
    const known = { epoch: 3, lastEpoch: 5, lastCheckpointAtMs: 77 };
    expect(merged(record('idle', { lastEpoch: 5 }), said)).toMatchObject(known);
    expect(merged(record('idle', known), report('idle'))).toMatchObject(known);
  });

  it('knows its process where it runs now', () => {
    const there = { ...report('assigned'), epoch: 2, qemuPid: 7 };
    expect(merged(record('assigned', { epoch: 2, lastEpoch: 2 }), there)).toMatchObject({
      qemuPid: 7,
    });
    const ended = { ...there, phase: 'stopped' as const, qemuPid: null };
    expect(merged(record('assigned', { qemuPid: 7 }), ended)).toMatchObject({ qemuPid: 7 });
  });

  it('gives the same record when nothing changed, so that nothing is written', () => {
    const before = record('idle');
    expect(merged(before, report('idle'))).toBe(before);
    expect(merged(record('idle'), report('failed')).why).toBe('QEMU died');
  });
});
