import { describe, expect, it } from 'vitest';
import { formatTimeline, parseGuestKernel, toTimeline } from './report.ts';

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

it.each([
  ['2026-01-01 kernel 6.12.1+deb13-cloud-amd64, 2 CPUs', '6.12.1+deb13-cloud-amd64'],
  ['no such line', undefined],
])('reads the guest kernel from %j', (log, kernel) => {
  expect(parseGuestKernel(log)).toBe(kernel);
});
