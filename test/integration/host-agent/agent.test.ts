/**
 * The agent as a process, against the control plane's own endpoint: enrolment, artifacts, VMs, and
 * the deaths of either side. Its VMs are `sleep`s; real ones have their own tests.
 */
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FleetHost } from '../../../app/reconciler/ports.ts';
import { AgentStatus } from '../../../host-agent/protocol/agent-status.ts';
import { JobId, VmId } from '../../../host-agent/protocol/ids.ts';
import { TestFleet, until } from './agent-fleet.ts';
import { isRunning } from './process-driver.ts';

const vmId = VmId.parse('vm-00000001');
const size = { vcpus: 2, memoryMib: 1024, diskGib: 1, arch: 'x64' } as const;

let control: TestFleet;
beforeEach(async () => {
  control = await TestFleet.open();
});
afterEach(() => control.close());

async function joinHost() {
  const tokenFile = await control.writeToken('one', control.issueToken());
  const agent = control.startAgent('one', { ARCHITECT_AGENT_TOKEN_FILE: tokenFile });
  const { pool } = control;
  const host = await control.host(({ report }) =>
    [pool.image, pool.template].every((digest) => report?.artifacts.includes(digest)),
  );
  return { agent, host, tokenFile };
}

async function startVm(host: FleetHost) {
  const request = { kind: 'start-vm', vmId, class: size, pool: control.pool } as const;
  expect(await control.request(host, request)).toEqual({ kind: 'taken' });
  return control.vm(vmId, (vm) => vm.phase === 'idle');
}

async function readStatus(name: string) {
  const text = await readFile(join(control.agentDir(name), 'status.json'), 'utf8');
  return AgentStatus.parse(JSON.parse(text));
}

test('a host joins, gets the artifacts, runs a VM to its end and forgets it', async () => {
  const { host, tokenFile } = await joinHost();
  await expect(stat(tokenFile)).rejects.toThrow('ENOENT');
  const identity = await stat(join(control.agentDir('one'), 'identity.json'));
  expect(identity.mode & 0o777).toBe(0o600);
  expect(await readStatus('one')).toMatchObject({ state: 'admitted', hostId: host.id });

  const { qemuPid } = await startVm(host);
  const again = { kind: 'start-vm', vmId, class: size, pool: control.pool } as const;
  expect(await control.request(host, again)).toEqual({ kind: 'taken' });
  expect((await control.vm(vmId, () => true)).qemuPid).toBe(qemuPid);

  const big = { ...again, vmId: VmId.parse('vm-00000002'), class: { ...size, vcpus: 3 } };
  expect(await control.request(host, big)).toMatchObject({ kind: 'refused' });

  const jobId = JobId.parse('77');
  await control.request(host, { kind: 'assign-job', vmId, jobId, jitConfig: 'c2VjcmV0' });
  await control.vm(vmId, (vm) => vm.phase === 'assigned' && vm.assignedJob === jobId);
  expect(await control.request(host, { kind: 'forget-vm', vmId })).toMatchObject({
    kind: 'refused',
  });
  await control.request(host, { kind: 'stop-vm', vmId, why: 'the job is over' });
  const last = await control.vm(vmId, (vm) => vm.phase === 'stopped');
  expect(last).toMatchObject({ why: 'the job is over', qemuPid: null });
  expect(isRunning(qemuPid)).toBe(false);
  expect(await control.request(host, { kind: 'forget-vm', vmId })).toEqual({ kind: 'taken' });
  await control.host(({ report }) => report?.vms.length === 0);
  expect(await readdir(join(control.agentDir('one'), 'journal'))).toEqual([]);
  expect(await readdir(join(control.agentDir('one'), 'vms'))).toEqual([]);
  expect(await control.request(host, again)).toMatchObject({ kind: 'refused' });
});

test('a used token enrols nobody, and the agent says why', async () => {
  const token = control.issueToken();
  const first = await control.writeToken('one', token);
  void control.startAgent('one', { ARCHITECT_AGENT_TOKEN_FILE: first });
  await control.host();
  const second = await control.writeToken('two', token);
  const { exitCode } = await control.startAgent('two', { ARCHITECT_AGENT_TOKEN_FILE: second });
  expect(exitCode).toBe(1);
  expect(await readStatus('two')).toMatchObject({
    state: 'failed',
    why: expect.stringContaining('does not take this enrolment token'),
  });
  expect(control.fleet.hosts()).toHaveLength(1);
});

test('a second agent on one folder gives up', async () => {
  await joinHost();
  const { exitCode, stderr } = await control.startAgent('one');
  expect(exitCode).toBe(1);
  expect(stderr).toContain('runs on');
});

test('an agent killed with SIGKILL finds its VM and its job again', async () => {
  const { agent, host } = await joinHost();
  const { qemuPid } = await startVm(host);
  const jobId = JobId.parse('77');
  await control.request(host, { kind: 'assign-job', vmId, jobId, jitConfig: 'c2VjcmV0' });
  agent.kill('SIGKILL');
  await agent;
  await until('the host to be away', () => control.fleet.hosts()[0]?.state === 'away' || undefined);
  expect(isRunning(qemuPid)).toBe(true);
  const stray = join(control.agentDir('one'), 'vms', 'vm-0000dead');
  await mkdir(stray);

  void control.startAgent('one');
  const found = await control.vm(vmId, (vm) => vm.phase === 'assigned');
  expect(found).toMatchObject({ qemuPid, assignedJob: jobId, epoch: 1 });
  expect(isRunning(qemuPid)).toBe(true);
  await expect(stat(stray)).rejects.toThrow('ENOENT');
});

test('a VM that died while there was no agent is reported failed, and no longer takes room', async () => {
  const { agent, host } = await joinHost();
  const { qemuPid } = await startVm(host);
  agent.kill('SIGKILL');
  await agent;
  process.kill(qemuPid ?? 0, 'SIGKILL');
  void control.startAgent('one');
  const dead = await control.vm(vmId, (vm) => vm.phase === 'failed');
  expect(dead.why).toContain('QEMU ended');
  const next = VmId.parse('vm-00000002');
  const request = { kind: 'start-vm', vmId: next, class: { ...size, vcpus: 4 } } as const;
  await until('room for another', async () => {
    const answer = await control
      .request(await control.host(), { ...request, pool: control.pool })
      .catch(() => undefined);
    return answer?.kind === 'taken' || undefined;
  });
});

test('a VM that dies is reported failed with why', async () => {
  const { host } = await joinHost();
  const { qemuPid } = await startVm(host);
  process.kill(qemuPid ?? 0, 'SIGKILL');
  const dead = await control.vm(vmId, (vm) => vm.phase === 'failed');
  expect(dead).toMatchObject({ why: 'QEMU ended unexpectedly.', qemuPid: null });
});

test('an agent that is told to end leaves its VMs running', async () => {
  const { agent, host } = await joinHost();
  const { qemuPid } = await startVm(host);
  agent.kill('SIGTERM');
  expect((await agent).exitCode).toBe(0);
  expect(isRunning(qemuPid)).toBe(true);
});

test('the agent outlives the control plane and dials in again', async () => {
  const { host } = await joinHost();
  const { qemuPid } = await startVm(host);
  await control.vanish();
  await control.listen();
  const back = await control.vm(vmId, (vm) => vm.phase === 'idle');
  expect(back.qemuPid).toBe(qemuPid);
});
