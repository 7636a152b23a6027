/** What the image promises in guest-contract.ts, asked of a booted guest. */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { z } from 'zod';
import {
  ACCEPT_JOB_PATH,
  JIT_CONFIG_PATH,
  RENEW_IDENTITY_PATH,
  RenewIdentity,
  RUNNER_STATE_PATH,
} from '../../../host-agent/protocol/guest-contract.ts';
import { RunnerState } from '../../../host-agent/protocol/vm-report.ts';
import { bootColdGuest, type ColdGuest } from './cold-guest.ts';
import { findPreparedImage } from './prepared-image.ts';

const STEP_MS = 60_000;
const GROWN = { timeout: STEP_MS, interval: 500 };

let guest: ColdGuest;
let stop: () => Promise<void>;
beforeAll(async () => {
  ({ guest, stop } = await bootColdGuest(await findPreparedImage()));
});
afterAll(() => stop?.());

function identity(): RenewIdentity {
  return RenewIdentity.parse({
    hostname: 'vm-0a1b2c3d',
    machineId: randomBytes(16).toString('hex'),
    bootId: randomUUID(),
    seed: randomBytes(64).toString('base64'),
    unixTimeMs: Date.parse('2031-02-03T04:05:06Z'),
    network: {
      address: '10.77.0.5',
      gateway: '169.254.1.1',
      mtu: 1400,
      dns: ['192.0.2.53', '192.0.2.54'],
    },
  });
}

const renew = (stdin: string) =>
  guest.agent.exec({ path: RENEW_IDENTITY_PATH, stdin, timeoutMs: STEP_MS });

const runnerState = async () =>
  RunnerState.parse(JSON.parse((await guest.agent.readFile(RUNNER_STATE_PATH)) ?? 'null'));

it('waits for a JIT configuration after its boot, with no unit failed', async () => {
  expect(await runnerState()).toEqual({ state: 'waiting' });
  expect(await guest.sh('systemctl --failed --no-legend')).toBe('');
});

it('becomes the machine that it is told to be', async () => {
  const wanted = identity();
  expect(await renew(JSON.stringify(wanted))).toMatchObject({ exitCode: 0, stderr: '' });
  expect(await guest.sh('hostname')).toBe(wanted.hostname);
  expect(await guest.sh('getent ahostsv4 vm-0a1b2c3d')).toContain('127.0.1.1');
  expect(await guest.sh('cat /etc/machine-id')).toBe(wanted.machineId);
  expect(await guest.sh('cat /proc/sys/kernel/random/boot_id')).toBe(wanted.bootId);
  expect(await guest.sh('date +%Y-%m-%dT%H')).toBe('2031-02-03T04');
  expect(await guest.sh('ip -4 -o address show eth0')).toContain('10.77.0.5/32');
  expect(await guest.sh('ip route')).toContain('default via 169.254.1.1 dev eth0');
  expect(await guest.sh('cat /sys/class/net/eth0/mtu')).toBe('1400');
  expect(await guest.sh('cat /etc/resolv.conf')).toBe(
    'nameserver 192.0.2.53\nnameserver 192.0.2.54',
  );
});

it('makes new SSH keys for another machine id and keeps them for the same', async () => {
  const key = () => guest.sh('flock /run/architect/finished cat /etc/ssh/ssh_host_ed25519_key.pub');
  const first = identity();
  await renew(JSON.stringify(first));
  const ofFirst = await key();
  await renew(JSON.stringify(first));
  expect(await key()).toBe(ofFirst);
  await renew(JSON.stringify(identity()));
  expect(await key()).not.toBe(ofFirst);
});

it.each([
  ['{}', 'seed'],
  [JSON.stringify({ ...identity(), seed: 'AAAA' }), 'seed'],
  [JSON.stringify({ ...identity(), bootId: undefined }), 'bootId'],
])('refuses %s, naming what is wrong', async (stdin, member) => {
  const { exitCode, stderr } = await renew(stdin);
  expect(exitCode).toBe(1);
  expect(stderr).toContain(`"${member}"`);
});

it('grows when its disk, memory and processors do', async () => {
  await guest.qmp.run('block_resize', { device: 'disk', size: 20 * 1024 ** 3 });
  await guest.qmp.run('object-add', {
    'qom-type': 'memory-backend-ram',
    id: 'm1',
    size: 1024 ** 3,
  });
  await guest.qmp.run('device_add', { driver: 'pc-dimm', id: 'd1', memdev: 'm1' });
  const [slot] = await guest.qmp.call({
    command: 'query-hotpluggable-cpus',
    answer: z.array(z.object({ type: z.string(), props: z.record(z.string(), z.int()) })),
  });
  await guest.qmp.run('device_add', { driver: slot?.type, id: 'c1', ...slot?.props });
  const number = async (command: string) => Number(await guest.sh(command));
  await vi.waitFor(async () => expect(await number('nproc')).toBe(2), GROWN);
  const totalKib = "awk '/MemTotal/ {print $2}' /proc/meminfo";
  await vi.waitFor(
    async () => expect(await number(totalKib)).toBeGreaterThan(1.3 * 1024 ** 2),
    GROWN,
  );
  const rootGib = 'df --output=size -BG / | tail -1 | tr -dc 0-9';
  await vi.waitFor(async () => expect(await number(rootGib)).toBeGreaterThanOrEqual(19), GROWN);
});

it('gives the JIT configuration to the runner and keeps it nowhere', async () => {
  const jitConfig = Buffer.from(`no such runner ${randomUUID()}`).toString('base64');
  const args = [JSON.stringify([{ group: 'Architect', detail: 'Host: h' }])];
  const accept = () =>
    guest.agent.exec({ path: ACCEPT_JOB_PATH, args, stdin: jitConfig, timeoutMs: STEP_MS });
  expect(await accept()).toMatchObject({ exitCode: 0, stderr: '' });
  await vi.waitFor(async () => expect((await runnerState()).state).toBe('exited'), GROWN);
  expect(await accept()).toMatchObject({ exitCode: 0, stderr: '' });
  expect(await guest.sh('cat /opt/actions-runner/.setup_info')).toBe(args[0]);
  expect(await guest.sh(`test -e ${JIT_CONFIG_PATH} && echo there || echo gone`)).toBe('gone');
  // By standard input: the guest agent logs the arguments of what it runs.
  const search = await guest.agent.exec({
    path: '/bin/sh',
    args: ['-c', 'pattern=$(cat); journalctl --no-pager | grep -c -F -e "$pattern"'],
    stdin: jitConfig,
    timeoutMs: STEP_MS,
  });
  expect(search.stdout.trim()).toBe('0');
});
