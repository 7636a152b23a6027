/** build-ami.sh with a stand-in for the aws command that writes down what it is asked. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, it } from 'vitest';

const SCRIPT = join(import.meta.dirname, '../../../runner-image/build-ami.sh');
const COMMIT = 'a'.repeat(40);
const ARGUMENTS = ['https://git.example/architect', COMMIT, 'subnet-1', 'sg-1'];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'architect-ami-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function build(consoleText: string, args = ARGUMENTS) {
  const aws = `#!/bin/sh
printf '%s %s\\n' "$2" "$*" >>'${folder}/calls'
case "$2 $*" in
*run-instances*) sed 's/^/  /' "$(printf '%s\\n' "$@" | sed -n 's/^file:..//p')" >'${folder}/user-data'; echo i-builder ;;
*describe-instances*) echo stopped ;;
*get-console-output*) echo '${consoleText}' ;;
*create-image*) echo ami-new ;;
*image-ids*) echo available ;;
*describe-images*) echo ami-debian ;;
esac
`;
  await writeFile(join(folder, 'aws'), aws);
  await chmod(join(folder, 'aws'), 0o755);
  const environment = { PATH: `${folder}:${process.env.PATH ?? ''}`, LOOKS: '2', LOOK_EVERY: '0' };
  const done = await execa('sh', [SCRIPT, ...args], { env: environment, reject: false });
  const calls = await readFile(join(folder, 'calls'), 'utf8').catch(() => '');
  const actions = calls.split('\n').flatMap((line) => line.split(' ')[0] || []);
  return { ...done, calls, actions };
}

it('prints the image of a builder that said it was ready, and ends the builder', async () => {
  const { stdout, exitCode, actions, calls } = await build('… architect-ami-is-ready');
  expect({ stdout, exitCode }).toEqual({ stdout: 'ami-new', exitCode: 0 });
  expect(actions).toEqual([
    ...['describe-images', 'run-instances', 'describe-instances', 'get-console-output'],
    ...['create-image', 'describe-images', 'terminate-instances'],
  ]);
  expect(calls).toMatch(/run-instances .*HttpTokens=required.*Encrypted=true/);
  const userData = await readFile(join(folder, 'user-data'), 'utf8');
  expect(userData).toContain(`checkout -q ${COMMIT}`);
  await execa('sh', ['-n', join(folder, 'user-data')]);
});

it('makes no image of a builder that failed, says where to look, and ends it', async () => {
  const { exitCode, stderr, actions } = await build('E: Unable to locate package npm');
  expect(exitCode).toBe(1);
  expect(stderr).toContain('get-console-output --instance-id i-builder');
  expect(actions).not.toContain('create-image');
  expect(actions.at(-1)).toBe('terminate-instances');
});

it.each([
  ['a branch', ['https://git.example/a', 'main', 's', 'g']],
  ['a quote', ["https://git.example/a'; reboot; '", COMMIT, 's', 'g']],
  ['too few', ['https://git.example/a']],
])('asks for nothing when given %s', async (_, args) => {
  expect(await build('', args)).toMatchObject({ exitCode: 1, calls: '' });
});
