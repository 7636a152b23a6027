/** What a killed run of the suites leaves is removed by the next, and nothing else is. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { isRunning, type ProcessRef, readProcess, signalProcess } from '../../app/process-ref.ts';
import { endTestRun, sweepDeadTestRuns } from '../test-run.ts';

const RUNNER = join(import.meta.dirname, 'dying-run.ts');
const Left = z.object({ dir: z.string(), folder: z.string(), pid: z.int() });

let place: string;
beforeEach(async () => {
  place = await mkdtemp(join(tmpdir(), 'runs-'));
  vi.stubEnv('TMPDIR', place);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(place, { recursive: true, force: true });
});

/** A runner with a process and a folder on the disk that would outlive it. */
async function startRun() {
  const runner = execa(process.execPath, [RUNNER], { reject: false, timeout: 60_000 });
  const [said] = await once(runner.stdout, 'data');
  const { dir, folder, pid } = Left.parse(JSON.parse(String(said)));
  const worker = readProcess(pid);
  if (worker === undefined) throw new Error('the runner started nothing');
  const kill = async () => {
    runner.kill('SIGKILL');
    await runner;
  };
  return { dir, folder, worker, kill };
}

function isThere({ dir, folder, worker }: { dir: string; folder: string; worker: ProcessRef }) {
  return [existsSync(dir), existsSync(folder), isRunning(worker)];
}

test('of two runs only the one whose runner was killed is removed', async () => {
  const [killed, living] = [await startRun(), await startRun()];
  try {
    await killed.kill();
    expect(isThere(killed)).toEqual([true, true, true]);
    expect(await sweepDeadTestRuns()).toEqual([killed.dir]);
    expect(isThere(killed)).toEqual([false, false, false]);
    expect(isThere(living)).toEqual([true, true, true]);
    await endTestRun(living.dir);
    expect(isThere(living)).toEqual([false, false, false]);
  } finally {
    for (const run of [killed, living]) {
      await run.kill();
      signalProcess(run.worker, 'SIGKILL');
      for (const dir of [run.dir, run.folder]) await rm(dir, { recursive: true, force: true });
    }
  }
});
