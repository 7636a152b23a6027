/**
 * The agent as users run it, with a real VM: it gives it another size while it runs, and, killed with
 * SIGKILL, finds QEMU and guest again.
 */
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FleetHost } from '../../../app/reconciler/ports.ts';
import { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import { VmId } from '../../../host-agent/protocol/ids.ts';
import type { VmSize } from '../../../host-agent/protocol/resize-messages.ts';
import { TestFleet, until } from './agent-fleet.ts';
import { isRunning } from './process-driver.ts';

const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
const NETNS = 'ar-agenttest-h1';
const VETH = 'ar-agenttest';
const ADDRESS = '100.64.250.1';
const vmId = VmId.parse('vm-00000a9e');

let control: TestFleet;
beforeEach(async () => {
  await removeHost();
  await execa('ip', ['netns', 'add', NETNS]);
  const peer = ['peer', 'name', 'eth0', 'netns', NETNS];
  await execa('ip', ['link', 'add', VETH, 'type', 'veth', ...peer]);
  await execa('ip', ['addr', 'add', `${ADDRESS}/24`, 'dev', VETH]);
  await execa('ip', ['link', 'set', VETH, 'up']);
  await execa('ip', ['-n', NETNS, 'addr', 'add', '100.64.250.10/24', 'dev', 'eth0']);
  await execa('ip', ['-n', NETNS, 'link', 'set', 'eth0', 'up']);
  await execa('ip', ['-n', NETNS, 'link', 'set', 'lo', 'up']);
  control = await TestFleet.open({ address: ADDRESS, agentNetns: NETNS, pool: readPool() });
});
afterEach(async () => {
  await control.close();
  await removeHost();
});

function readPool(): PoolSpec {
  const [path] = globSync(`${HOME}/artifacts/pools/small-*-tcg-*.json`);
  if (path === undefined) throw new Error('No prepared pool: run "npm run setup" first.');
  return PoolSpec.parse(JSON.parse(readFileSync(path, 'utf8')));
}

/** The VM's own namespace on this host, whose tag is in its name. */
function vmNetns(): string | undefined {
  return globSync(`/run/netns/ar-agenttest-${vmId}.*`)[0];
}

async function removeHost(): Promise<void> {
  await execa('ip', ['netns', 'del', basename(vmNetns() ?? 'none')], { reject: false });
  await execa('ip', ['link', 'del', VETH], { reject: false });
  await execa('ip', ['netns', 'del', NETNS], { reject: false });
}

/** Asks for the size until it is taken, since a VM may be busy; gives the report after it. */
async function resize(host: FleetHost, size: VmSize) {
  const request = { kind: 'resize-vm', vmId, size } as const;
  await until('the resize to be taken', async () => {
    const { kind } = await control.request(host, request);
    return kind === 'taken' || undefined;
  });
  // A report of before it was taken says nothing of it.
  return await control.vm(vmId, ({ class: { vcpus }, resize: word }) =>
    word === undefined ? vcpus === size.vcpus : word.failed !== null,
  );
}

test('a real VM is resized, survives its agent and is stopped by the next one', async () => {
  const tokenFile = await control.writeToken('one', control.issueToken());
  const env = {
    ARCHITECT_ARTIFACTS: `${HOME}/artifacts`,
    ARCHITECT_AGENT_CAPACITY: '4cpu-8gb',
  };
  const agent = control.startAgent('one', { ...env, ARCHITECT_AGENT_TOKEN_FILE: tokenFile });
  const { pool } = control;
  const host = await control.host(
    ({ report }) => report?.artifacts.includes(pool.template) === true,
  );
  const size = { vcpus: 1, memoryMib: 1024, diskGib: 8, arch: 'x64' } as const;
  const start = { kind: 'start-vm', vmId, class: size, pool } as const;
  expect(await control.request(host, start)).toEqual({ kind: 'taken' });
  const { qemuPid } = await control.vm(vmId, (vm) => vm.phase === 'idle' || vm.phase === 'failed');
  expect(isRunning(qemuPid)).toBe(true);
  const guard = [`--net=${vmNetns()}`, 'nft', 'list', 'set', 'inet', 'guard'];
  expect((await execa('nsenter', [...guard, 'never'])).stdout).toContain(ADDRESS);

  const large = { vcpus: 3, memoryMib: 4_096 + 512 };
  const tooLarge = { kind: 'resize-vm', vmId, size: { ...large, vcpus: 200 } } as const;
  const refusal = { kind: 'refused', why: expect.stringContaining('no room for 200 vCPUs') };
  expect(await control.request(host, tooLarge)).toMatchObject(refusal);
  const grown = await resize(host, large);
  expect(grown).toMatchObject({ phase: 'idle', qemuPid, class: { ...size, ...large } });
  expect(grown.resize).toBeUndefined();
  // What the guest has plugged it keeps; its CPUs go back.
  const small = await resize(host, { vcpus: 2, memoryMib: 1_024 });
  expect(small.class).toEqual({ ...size, ...large, vcpus: 2 });

  agent.kill('SIGKILL');
  await agent;
  await until('the host to be away', () => control.fleet.hosts()[0]?.state === 'away' || undefined);
  void control.startAgent('one', env);
  const found = await control.vm(vmId, (vm) => vm.phase === 'idle' || vm.phase === 'failed');
  expect(found).toMatchObject({ phase: 'idle', qemuPid, why: null, class: small.class });

  await control.request(await control.host(), { kind: 'stop-vm', vmId, why: 'enough' });
  await control.vm(vmId, (vm) => vm.phase === 'stopped');
  expect(isRunning(qemuPid)).toBe(false);
  expect(vmNetns()).toBeUndefined();
});
