/** What the end-to-end tests do with a simulated fleet: push jobs, look, wait for conditions. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { HostList, JobDetail, VmList } from '../../app/api/views.ts';
import { callApi } from '../../app/cli/api-client.ts';
import { SimulatedFleet, type SimulatedFleetOptions } from '../../app/demo/simulated-fleet.ts';

const POLL_MS = 100;
const LIMIT_MS = 4 * 60_000;

const MachineProcesses = z.object({ agent: z.object({ pid: z.int() }) });

export const never = new AbortController().signal;

export function startFleet(options: Partial<SimulatedFleetOptions> = {}): Promise<SimulatedFleet> {
  return SimulatedFleet.start({
    name: `e2e${randomBytes(2).toString('hex')}`,
    hosts: 2,
    hostSize: '4cpu-16gb',
    progress: () => undefined,
    signal: never,
    ...options,
  });
}

/** A label of its own keeps other jobs from taking the runner. */
export function smallLabel(): string {
  return `architect/cpu=1/ram=1/key=${randomBytes(4).toString('hex')}`;
}

/** Pushes one job of one step; gives its id. */
export async function pushJob(
  fleet: SimulatedFleet,
  script: string,
  label = smallLabel(),
): Promise<string> {
  const workflow = `name: test
on: push
jobs:
  job:
    runs-on: ${label}
    steps:
      - run: |
${script.replaceAll(/^/gm, '          ')}
`;
  const [job] = await fleet.github.push(workflow, never);
  if (job === undefined) throw new Error('the workflow has no job');
  return job.id;
}

export function readJob(fleet: SimulatedFleet, jobId: string): Promise<JobDetail> {
  return callApi(fleet.api, { method: 'GET', path: `/jobs/${jobId}`, answer: JobDetail });
}

export async function listVms(fleet: SimulatedFleet) {
  return (await callApi(fleet.api, { method: 'GET', path: '/vms', answer: VmList })).vms;
}

export async function listHosts(fleet: SimulatedFleet) {
  return (await callApi(fleet.api, { method: 'GET', path: '/hosts', answer: HostList })).hosts;
}

/** Looks until `look` gives something; an error of a look (a restart under way) is no answer. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
): Promise<T> {
  const deadlineMs = performance.now() + LIMIT_MS;
  let last: unknown;
  while (performance.now() < deadlineMs) {
    const found = await look().catch((error: unknown) => {
      last = error;
      return undefined;
    });
    if (found !== undefined && found !== false) return found;
    await delay(POLL_MS);
  }
  throw new Error(`${what}: not within ${LIMIT_MS} ms`, { cause: last });
}

/** The job as Architect has it, once its VM is gone. */
export function settled(fleet: SimulatedFleet, jobId: string): Promise<JobDetail> {
  return eventually(`job ${jobId} and its VM end`, async () => {
    const detail = await readJob(fleet, jobId);
    const open = detail.job.state === 'queued' || detail.job.state === 'in-progress';
    const vms = await listVms(fleet);
    return !open && vms.every((vm) => vm.forJob !== jobId && vm.runsJob !== jobId) && detail;
  });
}

/** The job's VM once it runs it. */
export function busyVm(fleet: SimulatedFleet, jobId: string) {
  return eventually(`a VM runs job ${jobId}`, async () => {
    const { vm } = await readJob(fleet, jobId);
    return vm?.phase === 'busy' && vm.qemuPid !== null ? { ...vm, qemuPid: vm.qemuPid } : undefined;
  });
}

/** The agent's process on the machine that a host id was made from (`<machine id>-<6 digits>`). */
export async function agentPid(fleet: SimulatedFleet, hostId: string): Promise<number> {
  const machineId = hostId.replace(/-[0-9a-f]{6}$/, '');
  const path = join(fleet.dir, 'hosts', machineId, 'machine/host.json');
  return MachineProcesses.parse(JSON.parse(await readFile(path, 'utf8'))).agent.pid;
}

export async function conclusionOf(fleet: SimulatedFleet, jobId: string): Promise<string | null> {
  return (await fleet.github.readJob(jobId, never)).conclusion;
}
