import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { requireFolder } from './report-file.ts';

test('a folder that is not there is told, with what to do', async () => {
  const path = join(tmpdir(), 'architect-no-such-folder', 'report.json');
  await expect(requireFolder(path)).rejects.toThrow(/architect-no-such-folder.*--report/);
});

test('a file need not be there', async () => {
  await expect(requireFolder(join(tmpdir(), 'architect-no-such-report.json'))).resolves.toBe(
    undefined,
  );
});
