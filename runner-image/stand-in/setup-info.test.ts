import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { formatSetupInfo, readSetupInfo } from './setup-info.ts';

it('prints each group, as the official runner does', () => {
  const groups = [
    { group: 'Machine', detail: 'one\r\ntwo\n\n' },
    { group: '', detail: 'three' },
    { group: 'Nothing', detail: '' },
    null,
    { group: 'Nothing' },
  ];
  expect(formatSetupInfo(groups)).toBe(
    '##[group]Machine\none\ntwo\n##[endgroup]\n' +
      '##[group]Machine Setup Info\nthree\n##[endgroup]\n',
  );
});

it.each([
  ['no file', undefined, /^$/],
  ['a list', '[{"group":"A","detail":"b"}]', /^##\[group\]A\nb\n##\[endgroup\]\n$/],
  ['no JSON', '[{', /^Fail to load and print machine setup info: .+\n$/],
  ['no list', '{}', /^Fail to load and print machine setup info: .+\n$/],
  ['a detail that is no text', '[{"detail":{}}]', /^Fail to load and print .+\n$/],
])('reads %s', async (_what, text, expected) => {
  const folder = await mkdtemp(join(tmpdir(), 'setup-info-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  if (text !== undefined) await writeFile(join(folder, '.setup_info'), text);
  expect(await readSetupInfo(folder)).toMatch(expected);
});
