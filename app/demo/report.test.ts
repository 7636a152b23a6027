import { describe, expect, it } from 'vitest';
import { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { newMigration } from '../records/migration-record.ts';
import {
  DemoReport,
  formatMoves,
  formatTimeline,
  parseGuestKernel,
  parseResets,
  toMoves,
  toTimeline,
} from './report.ts';

describe('timeline', () => {
  it('is in the order of a job, without what did not happen', () => {
    const timeline = toTimeline({ done: 5000, 'webhook received': 1000, 'first step': 2500 });
    expect(timeline.map(({ event }) => event)).toEqual(['webhook received', 'first step', 'done']);
  });

  it('shows time since the start and since the event before', () => {
    const text = formatTimeline(
      toTimeline({ 'webhook received': 1000, 'first step': 2500, done: 5000 }),
    );
    expect(text.split('\n').map((line) => line.trim().replace(/ +/g, ' '))).toEqual([
      'webhook received 0.000 s +0.000 s',
      'first step 1.500 s +1.500 s',
      'done 4.000 s +2.500 s',
    ]);
  });
});

it('reports the moves that the job survived', () => {
  const [a, b] = [HostId.parse('a'), HostId.parse('b')];
  const ids = { id: MigrationId.parse('m'), vmId: VmId.parse('vm'), jobId: JobId.parse('7') };
  const begun = newMigration(
    { ...ids, kind: 'live', from: a, to: b, epoch: 2, because: 'a notice', deadlineMs: 9 },
    1,
  );
  const figures = { blackoutMs: 21, bytesFromSource: 3, bytesFromStore: 4, packetsLost: null };
  const moves = toMoves([
    { ...begun, phase: 'aborted' },
    { ...begun, ...figures, phase: 'done' },
  ]);
  expect(DemoReport.shape.moves.parse(moves)).toEqual([{ from: 'a', to: 'b', ...figures }]);
  expect(formatMoves(moves)).toContain('stood for 21 ms; 3 B from the host, 4 B from the chunk');
  expect(formatMoves(moves)).not.toContain('packets');
  expect(formatMoves([])).toBe('the job was done before its VM had moved');
  const [move] = moves;
  if (move === undefined) throw new Error('no move');
  expect(formatMoves([{ ...move, packetsLost: 0 }])).toContain('; 0 packets lost');
  expect(formatMoves([{ ...move, blackoutMs: null }])).toContain('stood for an unknown time');
});

it.each([
  ['2026-01-01 kernel 6.12.1+deb13-cloud-amd64, 2 CPUs', '6.12.1+deb13-cloud-amd64'],
  ['no such line', undefined],
])('reads the guest kernel from %j', (log, kernel) => {
  expect(parseGuestKernel(log)).toBe(kernel);
});

it.each([
  ['15 answers\n2 connection resets\nok', 2],
  ['no such line', 0],
])('reads the connection resets from %j', (log, resets) => {
  expect(parseResets(log)).toBe(resets);
});
