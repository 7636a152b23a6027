/** The demo as a newcomer runs it, and stopped in the two ways in which people stop things. */
import { on } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, it } from 'vitest';
import { DemoReport, TIMELINE_EVENTS } from '../../app/demo/report.ts';
import { listLeftovers } from '../../app/providers/local/leftovers.ts';
import { sweepDeadFleets } from '../../app/providers/local/sweep.ts';

const DEMO = [join(import.meta.dirname, '../../app/cli/architect.ts'), 'demo'];
const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
const LIMIT_MS = 5 * 60_000;

function startDemo(args: readonly string[] = []) {
  return execa(process.execPath, [...DEMO, ...args], {
    all: true,
    reject: false,
    timeout: LIMIT_MS,
    forceKillAfterDelay: 30_000,
  });
}

const HOSTS_START = 'starting the control plane';
/** What the job's first step writes. */
const JOB_RUNS = 'kernel 6.';

async function untilItSays(demo: ReturnType<typeof startDemo>, wanted: string): Promise<void> {
  let text = '';
  for await (const chunk of on(demo.all, 'data', { close: ['end'] })) {
    text += String(chunk);
    if (text.includes(wanted)) return;
  }
  throw new Error(`the demo ended before it said "${wanted}": ${text}`);
}

async function fleetOf(pid: number | undefined): Promise<string> {
  const { stdout } = await execa('grep', [
    '-l',
    `"pid":${pid}[,}]`,
    '-r',
    '--include=owner.json',
    `${HOME}/fleets`,
  ]);
  return stdout.split('/').at(-2) ?? '';
}

it('reports a real VM that moved, a green job and nothing left over', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'architect-demo-'));
  try {
    const path = join(folder, 'report.json');
    const { exitCode, all, stdout } = await startDemo(['--report', path, '--json']);
    expect(exitCode, all).toBe(0);
    const report = DemoReport.parse(JSON.parse(await readFile(path, 'utf8')));
    expect(JSON.parse(stdout)).toEqual(report);
    expect(report.job.conclusion).toBe('success');
    expect(report.vm.guestKernel).toMatch(/^6\./);
    expect(report.timeline.map(({ event }) => event)).toEqual([...TIMELINE_EVENTS]);
    const times = report.timeline.map(({ atMs }) => atMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const [move, ...others] = report.moves;
    expect(others).toEqual([]);
    expect(move?.to).toBe(report.job.host);
    expect(move?.from).not.toBe(report.job.host);
    expect(move?.blackoutMs).toBeGreaterThan(0);
    expect(move?.bytesFromSource).toBeGreaterThan(0);
    expect(report.resets).toBe(0);
    expect(report.longestSilenceMs).toBeGreaterThan(0);
    expect(report.leftovers).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it.each([
  ['while its hosts start', HOSTS_START],
  ['in the middle of its job', JOB_RUNS],
])('leaves nothing behind after Ctrl-C %s', async (_when, said) => {
  const demo = startDemo();
  await untilItSays(demo, said);
  const fleet = await fleetOf(demo.pid);
  demo.kill('SIGINT');
  const { exitCode, all } = await demo;
  expect(exitCode).toBe(1);
  expect(all).toMatch(/Everything was cleaned up\.$/);
  expect(all).not.toMatch(/^ +at /m);
  expect(await listLeftovers({ home: HOME, fleet })).toEqual([]);
});

it('is cleaned up by the next start after SIGKILL in the middle of its job', async () => {
  const demo = startDemo();
  await untilItSays(demo, JOB_RUNS);
  const fleet = await fleetOf(demo.pid);
  demo.kill('SIGKILL');
  await demo;
  expect(await listLeftovers({ home: HOME, fleet })).not.toEqual([]);
  const swept = await sweepDeadFleets(HOME);
  expect(swept.map((report) => report.fleet)).toContain(fleet);
  expect(await listLeftovers({ home: HOME, fleet })).toEqual([]);
});
