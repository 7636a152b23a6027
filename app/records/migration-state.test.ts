import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { REQUEST_TIMEOUT_MS } from '../../host-agent/protocol/messages.ts';
import {
  MigrationPhase,
  type MigrationReport,
} from '../../host-agent/protocol/migration-messages.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';
import { lockMarginMs } from './lock-margin.ts';
import { isOpenMove, MigrationRecord, newMigration } from './migration-record.ts';
import { stepMove, stepStored } from './migration-state.ts';

const [A, B] = [HostId.parse('host-a'), HostId.parse('host-b')];
const ID = MigrationId.parse('m-1');
const VM = VmId.parse('vm-1');

function begun(kind: MigrationRecord['kind'], over: Partial<MigrationRecord> = {}) {
  const to = kind === 'park' ? null : B;
  const given = { id: ID, vmId: VM, jobId: null, kind, from: A, to, epoch: 2 };
  const record = newMigration({ ...given, because: 'a notice', deadlineMs: 100 }, 1);
  return MigrationRecord.parse({ ...record, ...over });
}

function word(phase: MigrationPhase, over: Partial<MigrationReport> = {}): MigrationReport {
  return {
    migrationId: ID,
    vmId: VM,
    role: 'source',
    peer: B,
    epoch: 2,
    phase,
    why: phase === 'aborted' ? 'the link broke' : null,
    startedAtMs: 1,
    endedAtMs: null,
    blackoutMs: null,
    bytesFromSource: 0,
    bytesFromStore: 0,
    bytesLeft: 0,
    packetsLost: null,
    ...over,
  };
}

function vmWord(phase: VmReport['phase'], over: Partial<VmReport> = {}): VmReport {
  return {
    vmId: VM,
    epoch: 2,
    phase,
    class: { vcpus: 1, memoryMib: 1024, diskGib: 1, arch: 'x64' },
    assignedJob: null,
    accelerator: 'tcg',
    qemuPid: 1,
    guestKernel: null,
    runner: { state: 'running' },
    why: null,
    startedAtMs: null,
    guestReadyAtMs: null,
    runnerStartedAtMs: null,
    stoppedAtMs: null,
    ...over,
  };
}

const said = (source?: MigrationPhase, target?: MigrationPhase, vmAtTarget?: VmReport) => ({
  source: source === undefined ? undefined : word(source),
  target: target === undefined ? undefined : word(target),
  vmAtTarget,
});

describe('stepMove', () => {
  it.each([
    [1, 2, 3],
    [1, null, null],
    [null, 0, null],
  ])('packets lost: %s here and %s there are %s in all', (here, there, packetsLost) => {
    const source = word('done', { packetsLost: here });
    const target = word('done', { role: 'target', packetsLost: there });
    const words = { source, target, vmAtTarget: undefined };
    expect(stepMove(begun('live'), words, 9)).toMatchObject({ packetsLost });
  });

  it.each<[string, ReturnType<typeof said>, Partial<MigrationRecord>]>([
    ['goes as far as either has come', said('precopy', 'reserving'), { phase: 'precopy' }],
    ['commits by the target’s word', said('switchover', 'committed'), { phase: 'committed' }],
    [
      'cannot be aborted after the source’s word that it gave',
      said('committed', 'switchover'),
      { phase: 'switchover', given: true },
    ],
    ['is done', said('committed', 'done'), { phase: 'done', endedAtMs: 9 }],
    [
      'is aborted by the source’s word',
      said('aborted', 'precopy'),
      { phase: 'aborted', why: 'the link broke' },
    ],
    [
      'is not by the target’s while the source tries',
      said('precopy', 'aborted'),
      { phase: 'precopy' },
    ],
    ['is by the target’s alone', said(undefined, 'aborted'), { phase: 'aborted' }],
    [
      'is done where the VM is, forgotten or not',
      said(undefined, undefined, vmWord('busy')),
      { phase: 'done' },
    ],
    [
      'is not where it only arrives',
      said('precopy', undefined, vmWord('allocating')),
      { phase: 'precopy' },
    ],
    [
      'is not by a word of an older epoch',
      said('precopy', undefined, vmWord('busy', { epoch: 1 })),
      { phase: 'precopy' },
    ],
  ])('%s', (_name, words, expected) => {
    expect(stepMove(begun('live'), words, 9)).toMatchObject(expected);
  });

  it('is taken back when the target refused a given token for good', () => {
    const given = begun('live', { phase: 'switchover', given: true });
    expect(stepMove(given, said(undefined, 'aborted'), 9).phase).toBe('switchover');
    expect(stepMove(given, said('aborted', 'aborted'), 9).phase).toBe('aborted');
  });

  it('is the same record when nothing was said', () => {
    const record = begun('live');
    expect(stepMove(record, said(), 9)).toBe(record);
    const done = begun('live', { phase: 'done' });
    expect(stepMove(done, said('aborted'), 9)).toBe(done);
  });

  it('takes each figure from the host that has it, also after its end', () => {
    const source = word('done', { blackoutMs: 21.5, bytesFromSource: 7 });
    const target = word('done', { bytesFromStore: 40 });
    const done = stepMove(begun('live', { phase: 'committed' }), { ...said(), target }, 9);
    expect(done).toMatchObject({ phase: 'done', blackoutMs: null, bytesFromStore: 40 });
    const late = stepMove(done, { ...said(), source, target }, 12);
    const figures = { blackoutMs: 21.5, bytesFromSource: 7, bytesFromStore: 40 };
    expect(late).toEqual({ ...done, ...figures });
    expect(stepMove(late, { ...said(), target }, 15)).toBe(late);
  });

  test('property: it never goes back, and never ends otherwise once the target runs the VM', () => {
    const phase = fc.option(fc.constantFrom(...MigrationPhase.options), { nil: undefined });
    const order = ['reserving', 'precopy', 'switchover', 'committed', 'done'];
    fc.assert(
      fc.property(fc.array(fc.tuple(phase, phase)), (words) => {
        let record = begun('live');
        for (const [source, target] of words) {
          const next = stepMove(record, said(source, target), 9);
          if (!isOpenMove(record)) expect(next).toBe(record);
          if (record.phase === 'committed') expect(next.phase).not.toBe('aborted');
          if (order.includes(next.phase))
            expect(order.indexOf(next.phase)).toBeGreaterThanOrEqual(order.indexOf(record.phase));
          record = next;
        }
      }),
    );
  });
});

describe('stepStored', () => {
  const parkedWord = vmWord('stopped', { parked: true, stoppedAtMs: 5 });

  it('is parked when its host says so, not when the VM ended otherwise', () => {
    const parking = begun('park');
    const words = { source: parkedWord, target: undefined };
    expect(stepStored(parking, words, 9)).toMatchObject({ phase: 'parked', stoppedAtMs: 5 });
    const died = {
      source: vmWord('failed', { why: 'killed' }),
      sourceGone: false,
      target: undefined,
    };
    expect(stepStored(parking, died, 9)).toMatchObject({ phase: 'aborted', why: 'killed' });
  });

  it('is aborted when its host could not, or knows nothing of it when it would not begin it any more', () => {
    const parking = begun('park');
    const late = parking.deadlineMs + REQUEST_TIMEOUT_MS;
    const by = (parking?: VmReport['parking']) => ({
      source: vmWord('busy', { epoch: 1, ...(parking && { parking }) }),
      target: undefined,
    });
    const { epoch } = parking;
    const failed = by({ epoch, failed: 'the store is away' });
    expect(stepStored(parking, failed, 9)).toMatchObject({
      phase: 'aborted',
      why: expect.stringContaining('runs on at host-a: the store is away'),
      endedAtMs: 9,
    });
    for (const words of [by(), by({ epoch: epoch - 1, failed: 'an earlier one' })]) {
      expect(stepStored(parking, words, late - 1)).toBe(parking);
      expect(stepStored(parking, words, late).phase).toBe('aborted');
    }
    expect(stepStored(parking, by({ epoch, failed: null }), late)).toBe(parking);
    expect(stepStored(parking, { source: undefined, target: undefined }, late)).toBe(parking);
  });

  it('goes on where it runs, with its blackout, or waits for another host', () => {
    const resuming = begun('park', { phase: 'resuming', to: B, stoppedAtMs: 5 });
    const by = (target: VmReport) => ({ source: undefined, target });
    expect(stepStored(resuming, by(vmWord('starting')), 9)).toBe(resuming);
    expect(stepStored(resuming, by(vmWord('busy', { epoch: 1 })), 9)).toBe(resuming);
    expect(stepStored(resuming, by(vmWord('busy')), 9)).toMatchObject({
      phase: 'done',
      blackoutMs: 4,
      endedAtMs: 9,
    });
    expect(stepStored(resuming, by(parkedWord), 9)).toMatchObject({
      phase: 'parked',
      to: null,
      attempts: 1,
    });
  });
});

describe('lockMarginMs', () => {
  const move = (endedAtMs: number, blackoutMs: number) => ({
    phase: 'done' as const,
    endedAtMs,
    blackoutMs,
  });

  it.each([
    ['no move', [], undefined],
    ['an aborted one', [{ phase: 'aborted' as const, endedAtMs: 9, blackoutMs: 5 }], undefined],
    ['one', [move(1_000, 20)], 539_980],
    ['two within a renewal', [move(30_000, 20), move(1_000, 20)], 539_960],
    ['two far apart', [move(1_000, 20), move(100_000, 30)], 539_970],
    ['parked for too long', [move(600_000, 560_000)], -20_000],
  ])('%s', (_name, moves, margin) => {
    expect(lockMarginMs(moves)).toBe(margin);
  });
});
