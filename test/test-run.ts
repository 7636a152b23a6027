/**
 * What one run of the suites (run-suites.ts) has on this machine, so that nothing of it stays, whoever
 * ended it, and how.
 *
 *   its folder   <temporary folder>/ar-t-<pid>-<start time of its runner>: the tests' temporary folder
 *   folders      the file in it that lists those on the disk (fixtures/disk-folder.ts)
 *   processes    carry ARCHITECT_TEST_RUN=<its folder> in their environment
 *   fleets       have a process of the run for an owner (app/providers/local/owner.ts)
 *
 * A runner that is told to end does this itself; one that was killed leaves it to the next. Only what
 * is recorded so is touched: other runs, and what else runs here, have other names. Networks with
 * fixed names are removed by the next test that makes them.
 */
import { globSync, lstatSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning, type ProcessRef, readProcess } from '../app/process-ref.ts';
import { unmountBelow } from '../app/providers/local/mounts.ts';
import { endProcesses, listProcessesCarrying } from '../app/providers/local/processes.ts';
import { sweepDeadFleets } from '../app/providers/local/sweep.ts';
import { FOLDERS_FILE, isDiskFolder, RUN_VARIABLE } from './fixtures/disk-folder.ts';

const NAME = /^ar-t-(?<pid>\d+)-(?<startTime>\d+)$/;
/** A process may start another while it is being killed: look again this often. */
const KILL_ROUNDS = 5;
const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';

/** The folder of a run of this process, which is this user's and new. */
export async function openTestRun(): Promise<string> {
  const self = readProcess(process.pid);
  const dir = join(tmpdir(), `ar-t-${self?.pid}-${self?.startTime}`);
  // QEMU runs without privileges, and its files are below.
  await mkdir(dir, { mode: 0o711 });
  return dir;
}

/** What the run's tests have to be started with. */
export function testRunEnvironment(dir: string): Record<string, string> {
  return { [RUN_VARIABLE]: dir, TMPDIR: dir };
}

/** Kills what still runs of it and removes all it had. */
export async function endTestRun(dir: string): Promise<void> {
  for (let round = 0; round < KILL_ROUNDS; round += 1) {
    const left = listProcessesCarrying(`${RUN_VARIABLE}=${dir}`);
    if (left.length === 0) break;
    await endProcesses(left);
  }
  for (const home of [HOME, ...globSync(join(dir, 'architect-home-*'))])
    await sweepDeadFleets(home);
  for (const folder of [...(await diskFolders(dir)), dir]) {
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Ends each run whose runner is no more; answers their folders. */
export async function sweepDeadTestRuns(): Promise<readonly string[]> {
  const names = await readdir(tmpdir());
  const dead = names.filter(isOfTheDead).map((name) => join(tmpdir(), name));
  const ours = dead.filter(isOwnFolder);
  for (const dir of ours) await endTestRun(dir);
  return ours;
}

function isOfTheDead(name: string): boolean {
  const { pid, startTime } = NAME.exec(name)?.groups ?? {};
  if (pid === undefined || startTime === undefined) return false;
  return !isRunning({ pid: Number(pid), startTime } satisfies ProcessRef);
}

/** Anybody may make a folder of such a name, with a list in it of what root should remove. */
function isOwnFolder(dir: string): boolean {
  const found = lstatSync(dir, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === process.getuid?.();
}

async function diskFolders(dir: string): Promise<readonly string[]> {
  const text = await readFile(join(dir, FOLDERS_FILE), 'utf8').catch(() => '');
  return text.split('\n').filter(isDiskFolder);
}
