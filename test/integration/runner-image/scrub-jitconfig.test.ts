/** The image's own scrub-jitconfig, run on this machine's processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeAll, expect, it, onTestFinished } from 'vitest';
import { findPreparedImage, takeFromImage } from './prepared-image.ts';

const NAME = 'ACTIONS_RUNNER_INPUT_JITCONFIG';
const SECRET = Buffer.from('not for a step to read').toString('base64');
const children: ChildProcess[] = [];

let program: string;
beforeAll(async () => {
  const taken = await takeFromImage(await findPreparedImage(), '/opt/architect/scrub-jitconfig');
  program = taken.file;
  return taken.remove;
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A process that was started with `variables` and goes on; answers its pid once it runs. */
async function startProcess(variables: Readonly<Record<string, string>>): Promise<number> {
  const child = spawn('/bin/sh', ['-c', 'echo up; read line; echo "$KEPT"'], {
    env: { KEPT: 'stays', ...variables, AFTER: 'too' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  await once(child.stdout, 'data');
  if (child.pid === undefined) throw new Error('no process');
  return child.pid;
}

const environmentOf = (pid: number) => readFile(`/proc/${pid}/environ`, 'latin1');

it('overwrites the variable in every process and nothing else', async () => {
  const pids = [await startProcess({ [NAME]: SECRET }), await startProcess({ [NAME]: SECRET })];
  for (const pid of pids) expect(await environmentOf(pid)).toContain(SECRET);
  await execa(program);
  for (const pid of pids) {
    const environment = await environmentOf(pid);
    expect(environment).not.toContain(SECRET);
    expect(environment).toContain('KEPT=stays\0');
    expect(environment).toContain('AFTER=too\0');
  }
});

it('leaves a variable alone whose name only begins or ends like it', async () => {
  const pid = await startProcess({ [`${NAME}S`]: 'a', [`MY_${NAME}`]: 'b' });
  await execa(program);
  const environment = await environmentOf(pid);
  expect(environment).toContain(`${NAME}S=a`);
  expect(environment).toContain(`MY_${NAME}=b`);
});

it('works for whoever calls it, by its setuid bit', async () => {
  const pid = await startProcess({ [NAME]: SECRET });
  await chmod(dirname(program), 0o755);
  await chmod(program, 0o4755);
  onTestFinished(() => chmod(program, 0o755));
  await execa(program, { uid: 65534, gid: 65534 });
  expect(await environmentOf(pid)).not.toContain(SECRET);
});
