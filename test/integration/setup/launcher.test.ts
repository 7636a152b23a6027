import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, onTestFinished, test } from 'vitest';
import { VERSION } from '../../../app/version.ts';

const LAUNCHER = join(import.meta.dirname, '../../../app/cli/architect.sh');
const SYSTEM_PATH = '/usr/bin:/bin';
const LIMITS = { timeout: 30_000, reject: false } as const;

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'architect-launcher-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  return dir;
}

test('a link to the launcher runs the CLI, whatever Node the system has', async () => {
  const link = join(await folder(), 'architect');
  await symlink(LAUNCHER, link);
  const ran = await execa(link, ['--version'], {
    ...LIMITS,
    env: { PATH: SYSTEM_PATH },
    cwd: tmpdir(),
  });
  expect(ran).toMatchObject({ stdout: VERSION, exitCode: 0 });
});

test('in a clone where nothing is set up it says what to do', async () => {
  const clone = await folder();
  await mkdir(join(clone, 'app/cli'), { recursive: true });
  await cp(LAUNCHER, join(clone, 'app/cli/architect.sh'));
  const ran = await execa(join(clone, 'app/cli/architect.sh'), ['jobs'], LIMITS);
  expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
  expect(ran.stderr).toContain(`Nothing is set up yet in ${clone}. Do there: npm run setup`);
});
