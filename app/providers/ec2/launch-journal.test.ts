import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { mayLag, openLaunchJournal } from './launch-journal.ts';

it('tells the next process when a host was last asked for', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'journal-'));
  try {
    const first = await openLaunchJournal(dir);
    expect(first.lastMs).toBeUndefined();
    await first.note(5_000);
    expect((await openLaunchJournal(dir)).lastMs).toBe(5_000);
    await writeFile(join(dir, 'ec2-launched'), '');
    expect((await openLaunchJournal(dir)).lastMs).toBeUndefined();
  } finally {
    await rm(dir, { recursive: true });
  }
});

it.each([
  ['nothing was ever bought', undefined, false],
  ['it was a moment ago', 99_000, true],
  ['it was long ago', 40_000, false],
  ['the clock was set back a little', 101_000, true],
  ['the clock was set back by hours', 10_000_000, false],
])('lists may lag: %s', (_, lastMs, expected) => {
  expect(mayLag({ lastMs }, 100_000)).toBe(expected);
});
