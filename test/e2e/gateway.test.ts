/** A job that waits on a connection to the outside, which it opened before its VM moved. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { MigrationStatus } from '../../app/api/views.ts';
import { callApi } from '../../app/cli/api-client.ts';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import { busyVm, eventually, pushJob, settled, startFleet } from './fleet.ts';
import { openGate } from './gate.ts';

let fleet: SimulatedFleet;

beforeAll(async () => {
  fleet = await startFleet({ gateway: true });
});

afterAll(async () => {
  expect(await fleet.close()).toEqual([]);
});

/** Resolves when the VM runs on the fleet's other host. */
async function move(vmId: string): Promise<void> {
  const { migrationId } = await callApi(fleet.api, {
    method: 'POST',
    path: `/vms/${vmId}/migrate`,
    body: {},
    answer: z.object({ migrationId: z.string() }),
  });
  const ended = await eventually(`${migrationId} ends`, async () => {
    const path = `/migrations/${migrationId}`;
    const status = await callApi(fleet.api, { method: 'GET', path, answer: MigrationStatus });
    return (status.state === 'done' || status.state === 'failed') && status;
  });
  expect(ended, JSON.stringify(ended)).toMatchObject({ state: 'done' });
}

it('lives there and back, on one connection', async () => {
  await using gate = await openGate(fleet.peer.host);
  const jobId = await pushJob(fleet, gate.script('there-and-back'));
  await gate.arrived();
  const vm = await busyVm(fleet, jobId);
  await move(vm.id);
  await move(vm.id);
  gate.open();
  const { job, moves } = await settled(fleet, jobId);
  expect(job.conclusion).toBe('success');
  expect(moves.map(({ phase, to }) => [phase, to === vm.hostId])).toEqual([
    ['done', false],
    ['done', true],
  ]);
});

it('moves while the gateway’s agent is dead, and goes on when it is back', async () => {
  await using gate = await openGate(fleet.peer.host);
  const jobId = await pushJob(fleet, gate.script('dead-agent'));
  await gate.arrived();
  const vm = await busyVm(fleet, jobId);
  fleet.gateway.kill('SIGKILL');
  await fleet.gateway.exited;
  await move(vm.id);
  await fleet.startGateway();
  gate.open();
  const { job } = await settled(fleet, jobId);
  expect(job.conclusion).toBe('success');
});
