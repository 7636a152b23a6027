/** Hosts that vanish without a word: every process on them is killed at once, VMs and agent alike. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import { endMachine } from '../../app/providers/local/reclaim.ts';
import {
  busyVm,
  eventually,
  listVms,
  never,
  pushJob,
  readJob,
  settled,
  smallLabel,
  startFleet,
} from './fleet.ts';
import { type Gate, openGate, patientScript } from './gate.ts';

const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';

let fleet: SimulatedFleet;

beforeAll(async () => {
  fleet = await startFleet({
    environment: { ARCHITECT_LOCAL_CHECKPOINT_SECONDS: '1' },
    // A dead runner's job ends when its lock does: ten minutes on GitHub, one here.
    githubArgs: ['--lock-ms', '60000', '--lock-renew-ms', '5000'],
  });
});

afterAll(async () => {
  expect(await fleet?.close()).toEqual([]);
});

/** Resolves with its VM's host, when there is a checkpoint of the job at work in the store. */
async function checkpointed(jobId: string, gate: Gate): Promise<string> {
  await gate.arrived();
  const atWorkMs = Date.now();
  const { id, hostId } = await busyVm(fleet, jobId);
  await eventually('its VM has a checkpoint', async () =>
    (await listVms(fleet)).some(
      (vm) => vm.id === id && vm.lastCheckpointAtMs !== null && vm.lastCheckpointAtMs > atWorkMs,
    ),
  );
  return hostId;
}

async function killHost(hostId: string): Promise<void> {
  const machineId = hostId.replace(/-[0-9a-f]{6}$/, '');
  await endMachine({ home: HOME, fleet: fleet.name }, machineId);
}

it('a job that opted in goes on from its checkpoint on another host, and ends green', async () => {
  await using gate = await openGate(fleet.peer.host);
  const script = patientScript(gate, 'rewind');
  const jobId = await pushJob(fleet, script, `${smallLabel()}/rewind=true`);
  const first = await checkpointed(jobId, gate);
  await killHost(first);
  const moved = await eventually('it runs elsewhere', async () => {
    const { vm } = await readJob(fleet, jobId);
    return vm?.phase === 'busy' && vm.hostId !== first && vm;
  });
  gate.open();
  const { job, moves, timeline } = await settled(fleet, jobId);
  expect(job).toMatchObject({ conclusion: 'success', vmId: moved.id, vmsStarted: 1 });
  expect(moves).toMatchObject([{ kind: 'rewind', phase: 'done', from: first, to: moved.hostId }]);
  expect(timeline.map(({ moment }) => moment)).toContain('rewound');
  // One shell from beginning to end: the job was not run again.
  const log = await fleet.github.readLog(jobId, never);
  const words = [...log.matchAll(/(?:began|ended) (\d+-\d+)/g)].map(([, word]) => word);
  expect(new Set(words).size).toBe(1);
  expect(log.match(/ended \d/g)).toHaveLength(1);
});

it('a job that did not opt in is lost, with the age of its checkpoint and how to run it again', async () => {
  await using gate = await openGate(fleet.peer.host);
  const jobId = await pushJob(fleet, patientScript(gate, 'lost'));
  const host = await checkpointed(jobId, gate);
  await killHost(host);
  const { job, moves } = await settled(fleet, jobId);
  expect(job).toMatchObject({ state: 'lost', vmsStarted: 1 });
  expect(moves).toEqual([]);
  expect(job.why).toMatch(`Its host ${host} is gone, without having been emptied.`);
  expect(job.why).toMatch(/Its last checkpoint was \d+ s old\./);
  expect(job.why).toMatch(`gh run rerun --job ${jobId} --repo acme/widgets`);
});
