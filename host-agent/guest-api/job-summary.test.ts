import { expect, it } from 'vitest';
import { GuestView } from '../protocol/guest-api.ts';
import { summariseJob } from './job-summary.ts';

const view = (over: Partial<GuestView>): GuestView =>
  GuestView.parse({
    ...{ class: '2cpu-4gb', cpuModel: null, pricePerHourUsd: null, moves: 0 },
    ...{ held: false, movesWhileHeld: 0, resize: null },
    ...over,
  });

it.each([
  [{}, '| Moves survived | 0 |'],
  [
    { moves: 2, blackoutsMs: [107.4, 58] },
    '| Moves survived | 2; the VM stood still for 107 ms, 58 ms |',
  ],
  [
    { moves: 2, blackoutsMs: [107.4, null] },
    '| Moves survived | 2; the VM stood still for 107 ms |',
  ],
  [{}, '| Cost | not known: its host has no price |'],
  [{ cost: { usd: 0.01, onDemandUsd: null } }, '| Cost | $0.0100 |'],
  [
    { cost: { usd: 0.01, onDemandUsd: 0.04 } },
    '| Cost | $0.0100; on demand $0.0400 (75 % saved) |',
  ],
])('of %j has a row %s', (over, row) => {
  expect(summariseJob(view(over)).split('\n')).toContain(row);
});

it('is a table of GitHub’s Markdown', () => {
  const [title, empty, ...table] = summariseJob(view({})).trimEnd().split('\n');
  expect([title, empty]).toEqual(['### Architect', '']);
  expect(table.every((line) => line.split('|').length === 4)).toBe(true);
});
