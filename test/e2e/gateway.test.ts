/** Jobs that wait on a connection to the outside, which they opened before their VM moved. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { MigrationStatus } from '../../app/api/views.ts';
import { callApi } from '../../app/cli/api-client.ts';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import { actionCheckout } from '../fixtures/action-files.ts';
import { busyVm, eventually, never, pushJob, settled, startFleet } from './fleet.ts';
import { openGate } from './gate.ts';
import { type Outside6, openOutside6, PREFIX6 } from './outside6.ts';

const NOTICE_MS = 60_000;

let fleet: SimulatedFleet;
let outside6: Outside6;

beforeAll(async () => {
  fleet = await startFleet({ gateway: true, prefix6: PREFIX6 });
  outside6 = await openOutside6(fleet);
});

afterAll(async () => {
  await outside6?.close();
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

it('lives there and back, on one connection by IPv4 and one by IPv6', async () => {
  await using gate = await openGate(fleet.peer.host);
  const { connect, echo } = outside6;
  const steps = [connect, echo('before'), gate.script('there-and-back'), echo('after')];
  const jobId = await pushJob(fleet, ['set -e', ...steps].join('\n'));
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
  const stood = moves.map(({ blackoutMs }) => `${Math.round(blackoutMs ?? 0)} ms`).join(', ');
  expect(await fleet.github.readSummary(jobId, never)).toContain(
    `| Moves survived | 2; the VM stood still for ${stood} |`,
  );
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

/** Asks on and on what VM this is, until it has moved: each question gets its answer. */
const ASK_THROUGH_MOVE = `
import { openGuestClient } from './app/action/guest-client.ts';
const ask = openGuestClient();
for (let moves = 0; moves === 0; await new Promise((next) => setTimeout(next, 500))) {
  const reply = await ask({ method: 'GET', path: '/v1/vm', limitMs: 60_000 });
  if (reply.kind === 'refused') throw new Error(reply.why);
  moves = reply.view.moves;
}`;

/** The last, since it takes one of the two hosts away. */
it('is held by the action, so that only a notice moves it; then it is resized, and back', async () => {
  await using gate = await openGate(fleet.peer.host);
  const jobId = await pushJob(
    fleet,
    [
      ...(await actionCheckout()),
      'export GITHUB_OUTPUT=$PWD/output GITHUB_STATE=$PWD/state',
      'INPUT_HOLD=true node app/action/main.ts',
      `echo ${Buffer.from(ASK_THROUGH_MOVE).toString('base64')} | base64 -d > asker.mjs`,
      'node asker.mjs & asker=$!',
      gate.script('held'),
      'wait $asker',
      'echo "then:"; node app/action/main.ts',
      'cat state; STATE_held=true node app/action/post.ts',
      'echo "after:"; node app/action/main.ts',
      'INPUT_CLASS=giant node app/action/main.ts || echo "cpus before: $(nproc)"',
      'INPUT_CLASS=medium node app/action/main.ts; echo "cpus then: $(nproc)"',
      `awk '/MemTotal/ {print "memory in GiB: " int($2 / 1048576 + 0.5)}' /proc/meminfo`,
      'STATE_resized=true node app/action/post.ts',
      'until test "$(nproc)" = 1; do sleep 0.2; done; echo "cpus at last: $(nproc)"',
    ].join('\n'),
  );
  await gate.arrived();
  const vm = await busyVm(fleet, jobId);
  await expect(move(vm.id)).rejects.toThrow('holds it on its host');
  await fleet.reclaim(vm.hostId, NOTICE_MS);
  await eventually('the VM is elsewhere', async () => {
    const { hostId } = await busyVm(fleet, jobId);
    return hostId !== vm.hostId;
  });
  gate.open();
  const { job } = await settled(fleet, jobId);
  const log = await fleet.github.readLog(jobId, never);
  expect(job.conclusion, log).toBe('success');
  const [before = '', then = '', after = ''] = log.split(/^(?:then|after):$/m);
  expect(before).toMatch(/class: 1cpu-\d+gb.*cpu-model: \S.*moves: 0.*moved: false/s);
  expect(then).toMatch(/moves: 1.*moved: true.*held=true/s);
  expect(then).toContain('The VM was moved while it was held (1 times)');
  expect(after).toMatch(/moves: 1.*moved: false/s);
  expect(after).toMatch(/There is no class "giant".*cpus before: 1\b/s);
  expect(after).toMatch(/class: 4cpu-8gb.*cpus then: 4\b.*memory in GiB: 8\b.*cpus at last: 1\b/s);
});
