/** Nobody reaches GitHub for ten minutes, and it reaches nobody: VMs move on, and jobs go on at GitHub. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { HostId, JobId } from '../../../host-agent/protocol/ids.ts';
import type { Job } from '../../fakes/github/model.ts';
import { hastenClock } from './fast-clock.ts';
import { MovingHosts } from './moving-hosts.ts';
import { MINUTE_MS, PACE } from './pace.ts';
import { expectAllRunOnce, pushJobs } from './run-once.ts';
import { startWholeIntake, type WholeIntake } from './whole-intake.ts';

const HOUR_MS = 3_600_000;
const HOSTS = Array.from({ length: 16 }, (_, n) => `host-${String(n).padStart(2, '0')}`);
const OURS = 'architect';
/** One call finds out whether GitHub is back; before it is known to be away, some are under way. */
const MAX_TRIES_PER_SECOND = 1;
const MAX_TRIES_AT_FIRST = 20;
const RUNNING = 12;

let whole: WholeIntake;
let hosts: MovingHosts;
/** Jobs that run until they are let go. */
const held = new Map<number, PromiseWithResolvers<void>>();

beforeEach(async () => {
  hastenClock(PACE);
  held.clear();
  whole = await startWholeIntake(
    // The runners here do not renew the locks of their jobs.
    { durations: { lockMs: HOUR_MS } },
    {
      hosts: (runnerOnline) => {
        hosts = new MovingHosts(HOSTS, runnerOnline);
        return hosts;
      },
    },
  );
  whole.work.run = (job) => held.get(job.id)?.promise ?? delay(MINUTE_MS / 20);
});
afterEach(async () => {
  await whole.close();
  vi.unstubAllGlobals();
});

const push = (count: number) => pushJobs(whole, OURS, count);

/** They run, and their VMs are known to be theirs. */
async function runHeld(count: number): Promise<readonly Job[]> {
  const jobs = push(count);
  for (const { id } of jobs) held.set(id, Promise.withResolvers());
  await expect
    .poll(async () => (await whole.store.listVms()).filter(({ phase }) => phase === 'busy').length)
    .toBe(count);
  return jobs;
}

const letGo = (jobs: readonly Job[]) => {
  for (const { id } of jobs) held.get(id)?.resolve();
};

/** Resolves when all VMs at work on that host are being sent elsewhere. */
async function evacuate(name: string) {
  const hostId = HostId.parse(name);
  const working = [...hosts.vms.values()].filter(
    (vm) => vm.hostId === hostId && vm.report.runner.state === 'running',
  );
  const wanted = working.length;
  const notice = { kind: 'interruption', source: 'ec2', seenAtMs: Date.now() } as const;
  hosts.notices.set(hostId, { ...notice, deadlineMs: Date.now() + HOUR_MS });
  hosts.changed();
  const under = () => hosts.begun.filter(({ from }) => from === hostId);
  await expect.poll(() => under().length).toBe(wanted);
  return under();
}

/** Three hosts that have VMs with jobs. */
function threeHosts(): readonly [string, string, string] {
  const [one, two, three] = new Set([...hosts.vms.values()].map(({ hostId }) => hostId));
  if (one === undefined || two === undefined || three === undefined)
    throw new Error('the VMs are on fewer than three hosts');
  return [one, two, three];
}

it('GitHub cannot be reached for ten minutes during migrations', async () => {
  const { simulation } = whole.fixture.github;
  const lose = (count: number, unrecorded: boolean) =>
    whole.fixture.control('PUT', '/faults/deliveries', { drop: { count, unrecorded } });
  const running = await runHeld(RUNNING);
  const [first, second, third] = threeHosts();
  // Queued before, their runners wait at GitHub, and somebody cancels them meanwhile.
  const unwanted: Job[] = [];
  whole.work.choose = (_runner, queued) => queued.find((job) => !unwanted.includes(job));
  unwanted.push(...push(2));
  await expect.poll(() => simulation.world.runners.size).toBe(RUNNING + unwanted.length);
  const before = await evacuate(first);
  simulation.unreachable = true;
  const awaySinceMs = performance.now();
  await lose(10_000, false);
  const wanted = [...running, ...push(4)];
  for (const { migrationId } of before) hosts.commit(migrationId);
  letGo(running.slice(-3));
  await delay(3 * MINUTE_MS);
  await lose(10_000, true);
  wanted.push(...push(4));
  const never = push(1);
  for (const job of [...unwanted, ...never]) simulation.jobs.cancel(job);
  for (const { migrationId } of await evacuate(second)) hosts.commit(migrationId);
  letGo(running.slice(-5, -3));
  await delay(4 * MINUTE_MS);
  const after = await evacuate(third);
  // One of them on its way.
  letGo(running.slice(4, 5));
  await delay(3 * MINUTE_MS);
  expect(wanted.slice(RUNNING).every(({ status }) => status === 'queued')).toBe(true);
  const awaySeconds = (performance.now() - awaySinceMs) / 1_000;
  expect(simulation.cut).toBeLessThan(MAX_TRIES_AT_FIRST + awaySeconds * MAX_TRIES_PER_SECOND);
  simulation.unreachable = false;
  await lose(0, false);
  for (const { migrationId } of after) hosts.commit(migrationId);
  letGo(running);
  await expectAllRunOnce(whole, wanted);
  for (const { id } of [...unwanted, ...never]) expect(whole.work.starts.has(id)).toBe(false);
  const moves = wanted.flatMap(({ id }) => whole.evidence.movesOf(JobId.parse(String(id))));
  expect(moves.map(({ phase }) => phase)).toEqual(hosts.begun.map(() => 'done'));
  expect(new Set(moves.map(({ vmId }) => vmId)).size).toBe(moves.length);
  expect(moves.length).toBeGreaterThan(4);
  const redelivered = () => simulation.webhooks.list().some(({ redelivery }) => redelivery);
  await expect.poll(redelivered).toBe(true);
});
