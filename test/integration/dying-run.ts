/** `node dying-run.ts`: opens a run as run-suites.ts does, says what it has, and stays. */
import { spawn } from 'node:child_process';
import { makeDiskFolder } from '../fixtures/disk-folder.ts';
import { openTestRun, testRunEnvironment } from '../test-run.ts';

const STAY_MS = 60_000;

const dir = await openTestRun();
Object.assign(process.env, testRunEnvironment(dir));
const folder = await makeDiskFolder('dying-run');
const { pid } = spawn('sleep', [String(STAY_MS / 1_000)], { detached: true, stdio: 'ignore' });
process.stdout.write(JSON.stringify({ dir, folder, pid }));
setTimeout(() => undefined, STAY_MS);
