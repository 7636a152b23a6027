/** Faults in the middle of jobs, provoked for real on a whole fleet with real VMs. */
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import {
  agentPid,
  busyVm,
  conclusionOf,
  eventually,
  listHosts,
  listVms,
  never,
  pushJob,
  readJob,
  settled,
  smallLabel,
  startFleet,
} from './fleet.ts';
import { openGate } from './gate.ts';

const MINTS = { path: 'generate-jitconfig', status: 500, count: 10_000 };

let fleet: SimulatedFleet;

beforeAll(async () => {
  // A dead runner's job ends when its lock does: ten minutes on GitHub, half a minute here.
  fleet = await startFleet({ githubArgs: ['--lock-ms', '30000', '--lock-renew-ms', '5000'] });
});

afterAll(async () => {
  expect(await fleet.close()).toEqual([]);
});

describe('a job in progress', () => {
  it('survives SIGKILL of its host-agent, in the same VM', async () => {
    await using gate = await openGate(fleet.peer.host);
    const jobId = await pushJob(fleet, gate.script('agent'));
    await gate.arrived();
    const vm = await busyVm(fleet, jobId);
    const killed = await agentPid(fleet, vm.hostId);
    process.kill(killed, 'SIGKILL');
    await eventually('another agent reports the VM', async () => {
      const host = (await listHosts(fleet)).find(({ id }) => id === vm.hostId);
      const back = host?.state === 'connected' && host.vms.includes(vm.id);
      return back && (await agentPid(fleet, vm.hostId)) !== killed;
    });
    gate.open();
    const { job } = await settled(fleet, jobId);
    expect(job).toMatchObject({ conclusion: 'success', vmId: vm.id, vmsStarted: 1 });
  });

  it('survives SIGKILL of the control plane', async () => {
    await using gate = await openGate(fleet.peer.host);
    const jobId = await pushJob(fleet, gate.script('control-plane'));
    await gate.arrived();
    const vm = await busyVm(fleet, jobId);
    fleet.controlPlane.kill('SIGKILL');
    await fleet.controlPlane.exited;
    await fleet.startControlPlane();
    gate.open();
    const { job } = await settled(fleet, jobId);
    expect(job).toMatchObject({ conclusion: 'success', vmId: vm.id, vmsStarted: 1 });
  });

  it('survives that Redis is emptied', async () => {
    await using gate = await openGate(fleet.peer.host);
    const jobId = await pushJob(fleet, gate.script('redis'));
    await gate.arrived();
    const vm = await busyVm(fleet, jobId);
    const redis = new Redis(join(fleet.dir, 'redis/redis.sock'));
    try {
      await redis.flushall();
    } finally {
      redis.disconnect();
    }
    gate.open();
    const { job } = await settled(fleet, jobId);
    expect(job).toMatchObject({ conclusion: 'success', vmId: vm.id, vmsStarted: 1 });
  });

  it('is marked lost with its cause when QEMU dies, and is not run twice', async () => {
    await using gate = await openGate(fleet.peer.host);
    const jobId = await pushJob(fleet, gate.script('qemu'));
    await gate.arrived();
    const { qemuPid } = await busyVm(fleet, jobId);
    process.kill(qemuPid, 'SIGKILL');
    const { job } = await settled(fleet, jobId);
    expect(job).toMatchObject({ state: 'lost', vmsStarted: 1 });
    expect(job.why).toMatch(/QEMU/);
    gate.open();
    expect(await gate.arrived()).toEqual(['qemu']);
  });

  it('ends with its VM when it is cancelled', async () => {
    await using gate = await openGate(fleet.peer.host);
    const jobId = await pushJob(fleet, gate.script('cancel'));
    await gate.arrived();
    await fleet.github.cancel(jobId, never);
    const { job } = await settled(fleet, jobId);
    expect(job).toMatchObject({ state: 'completed', conclusion: 'cancelled' });
  });
});

describe('a job that no runner has picked up', () => {
  it('gets another VM when QEMU dies', async () => {
    await fleet.github.failApi(MINTS, never);
    await using gate = await openGate(fleet.peer.host);
    gate.open();
    const jobId = await pushJob(fleet, gate.script('second-vm'));
    const first = await eventually('its VM waits', async () =>
      (await listVms(fleet)).find((vm) => vm.forJob === jobId && vm.phase === 'idle'),
    );
    process.kill(first.qemuPid ?? 0, 'SIGKILL');
    await eventually('another VM is there', async () =>
      (await listVms(fleet)).some((vm) => vm.forJob === jobId && vm.id !== first.id),
    );
    await fleet.github.healApi(never);
    const { job } = await settled(fleet, jobId);
    expect(job.conclusion).toBe('success');
    expect(job.vmId).not.toBe(first.id);
    expect(await gate.arrived()).toEqual(['second-vm']);
  });

  it.each(['allocating', 'idle'])(
    'leaves no VM when it is cancelled while that is %s',
    async (phase) => {
      await fleet.github.failApi(MINTS, never);
      const jobId = await pushJob(fleet, 'true');
      await eventually(`its VM is ${phase}`, async () =>
        (await listVms(fleet)).some(
          (vm) => vm.forJob === jobId && (phase === 'allocating' || vm.phase === phase),
        ),
      );
      await fleet.github.cancel(jobId, never);
      const { job } = await settled(fleet, jobId);
      expect(job).toMatchObject({ state: 'completed', conclusion: 'cancelled' });
      await fleet.github.healApi(never);
    },
  );

  it('is over when it is cancelled just as its runner is registered', async () => {
    const jobId = await pushJob(fleet, 'true');
    await eventually('its runner is registered', async () => {
      const [vm] = (await listVms(fleet)).filter(({ forJob }) => forJob === jobId);
      return (
        vm !== undefined &&
        (await fleet.github.listRunnerNames(never)).includes(`architect-${vm.id}`)
      );
    });
    await fleet.github.cancel(jobId, never);
    const { job } = await settled(fleet, jobId);
    expect(job.state).toBe('completed');
  });
});

it('runs jobs once each when GitHub gives their runners to one another', async () => {
  await using gate = await openGate(fleet.peer.host);
  const label = smallLabel();
  const names = ['one', 'two', 'three'];
  const jobs = await Promise.all(names.map((name) => pushJob(fleet, gate.script(name), label)));
  expect([...(await gate.arrived(names.length))].sort()).toEqual([...names].sort());
  gate.open();
  for (const jobId of jobs) {
    expect((await settled(fleet, jobId)).job.conclusion).toBe('success');
  }
  expect(await gate.arrived()).toHaveLength(names.length);
});

it('refuses at once, with a reason, what the operator does not allow', async () => {
  const jobId = await pushJob(fleet, 'true', 'architect/cpu=200');
  const { job } = await eventually('the job is known', () => readJob(fleet, jobId));
  expect(job.state).toBe('refused');
  expect(job.why).toMatch(/cpu/);
  expect(await conclusionOf(fleet, jobId)).toBeNull();
});

it('leaves no VM and no runner when its jobs are done', async () => {
  await eventually('everything is gone', async () => {
    const runners = await fleet.github.listRunnerNames(never);
    return (await listVms(fleet)).length === 0 && runners.length === 0;
  });
});
