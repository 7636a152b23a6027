/** The action as the runner starts it: from a bare checkout, with nothing installed. */
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ACTION_FILES } from '../../test/fixtures/action-files.ts';

const ROOT = join(import.meta.dirname, '../..');
let checkout: string;

beforeAll(async () => {
  checkout = await mkdtemp(join(tmpdir(), 'architect-action-'));
  for (const file of ACTION_FILES) {
    await mkdir(dirname(join(checkout, file)), { recursive: true });
    await copyFile(join(ROOT, file), join(checkout, file));
  }
});
afterAll(() => rm(checkout, { recursive: true, force: true }));

async function runAction(env: Readonly<Record<string, string>>) {
  const GITHUB_OUTPUT = join(checkout, 'output');
  const ran = await execa(process.execPath, [join(checkout, 'app/action/main.ts')], {
    ...{ env: { GITHUB_OUTPUT, ...env }, extendEnv: false, reject: false, timeout: 60_000 },
  });
  return { ...ran, output: await readFile(GITHUB_OUTPUT, 'utf8').catch(() => '') };
}

it('gives the label for later jobs', async () => {
  const { exitCode, output } = await runAction({ INPUT_CLASS: 'large', INPUT_KEY: '7-1-pick-2' });
  expect([exitCode, output]).toEqual([0, 'runs-on=architect/key=7-1-pick-2/class=large\n']);
});

it('fails the step with the reason', async () => {
  const { exitCode, stdout } = await runAction({ INPUT_RAM: 'much' });
  expect(exitCode).toBe(1);
  expect(stdout).toBe(
    '::error title=Architect::The key "ram" wants a whole number from 1 to 4096.',
  );
});
