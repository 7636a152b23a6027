/**
 * Machines that the user brings, from their enrolment tokens to green jobs. Each is a namespace on the
 * fleet's bridge with folders of its own for settings, agent and artifacts, so that nothing it has
 * was there before it joined: the first has image and template from the control plane, the second from
 * the chunk store.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { callApi } from '../../app/cli/api-client.ts';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import { createMachine, removeMachine } from '../../app/providers/local/host-machine.ts';
import { hostNetns } from '../../app/providers/local/local-names.ts';
import { makeDiskFolder } from '../fixtures/disk-folder.ts';
import {
  conclusionOf,
  eventually,
  listHosts,
  never,
  pushJob,
  settled,
  startFleet,
} from './fleet.ts';

const MACHINES = ['brought', 'later'] as const;
type Machine = (typeof MACHINES)[number];
const CLI = join(import.meta.dirname, '../../app/cli/architect.ts');
/** Mounts of its own over what `host join` writes to, then the CLI in the machine's namespace. */
const JOIN = `set -e
for dir in /etc/architect-agent /var/lib/architect/agent; do
  mkdir -p $dir
  mount -t tmpfs -o mode=755,size=40g brought $dir
done
exec nsenter --net=/run/netns/"$NETNS" node "$CLI" host join "$TOKEN" --foreground`;

let fleet: SimulatedFleet;
let folder: string;

beforeAll(async () => {
  folder = await makeDiskFolder('architect-brought');
  // QEMU runs as a user of its own and reads the template there.
  await chmod(folder, 0o755);
  const environment = { ARCHITECT_PROVIDER: 'static', ARCHITECT_STORE: join(folder, 'chunks') };
  fleet = await startFleet({ hosts: 0, environment });
  for (const [n, machineId] of MACHINES.entries())
    await createMachine({ network: fleet.network, machineId, index: 80 + n }, never);
});

afterAll(async () => {
  for (const machine of MACHINES)
    await removeMachine({ home: homeDir(), fleet: fleet.name }, machine);
  expect(await fleet.close()).toEqual([]);
  await rm(folder, { recursive: true, force: true });
});

it('joins with its token, fetches image and template, and runs a job', async () => {
  const host = await joinFleet('brought');
  const jobId = await pushJob(fleet, 'uname -r && nproc');
  const { job, vm } = await settled(fleet, jobId);
  expect({ conclusion: job.conclusion, why: vm?.why }).toMatchObject({ conclusion: 'success' });
  expect(vm?.hostId).toBe(host);
  expect(await conclusionOf(fleet, jobId)).toBe('success');
  expect(await logged('brought', '"from":"control plane"')).toBe(2);
});

it('has put both into the chunk store, where the next host takes them from', async () => {
  await eventually('image and template are in the store', async () =>
    (await logged('brought', 'artifact is in the chunk store')) === 2 ? true : undefined,
  );
  await joinFleet('later');
  await eventually('both are on the next host', async () =>
    (await logged('later', 'artifact is here')) === 2 ? true : undefined,
  );
  expect(await logged('later', '"from":"chunk store"')).toBe(2);
});

/** Gives the host's id once it is admitted. */
async function joinFleet(machine: Machine): Promise<string> {
  const before = new Set((await listHosts(fleet)).map(({ id }) => id));
  const { token } = await callApi(fleet.api, {
    method: 'POST',
    path: '/hosts/tokens',
    answer: z.object({ token: z.string() }),
  });
  await startAgent(machine, token);
  const host = await eventually('the brought host is admitted', async () =>
    (await listHosts(fleet)).find(({ id, state }) => state === 'connected' && !before.has(id)),
  );
  return host.id;
}

async function logged(machine: Machine, text: string): Promise<number> {
  const log = await readFile(logOf(machine), 'utf8');
  return log.split('\n').filter((line) => line.includes(text)).length;
}

function logOf(machine: Machine): string {
  return join(fleet.dir, `${machine}.log`);
}

/** It ends with its machine: `removeMachine` ends every process in the namespace. */
async function startAgent(machine: Machine, token: string): Promise<void> {
  await using log = await open(logOf(machine), 'w', 0o600);
  const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', JOIN], {
    stdio: ['ignore', log.fd, log.fd],
    env: {
      PATH: process.env.PATH,
      NETNS: hostNetns(fleet.name, machine),
      CLI,
      TOKEN: token,
      ARCHITECT_FLEET: fleet.name,
      ARCHITECT_ARTIFACTS: join(folder, machine),
      ARCHITECT_AGENT_NAME: machine,
      ARCHITECT_AGENT_CAPACITY: '2cpu-4gb',
    },
  });
  await once(child, 'spawn');
}

function homeDir(): string {
  return process.env.ARCHITECT_HOME ?? '/var/lib/architect';
}
