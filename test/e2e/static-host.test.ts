/**
 * A machine that the user brings, from its enrolment token to a green job. It is a namespace on the
 * fleet's bridge with folders of its own for settings, agent and artifacts, so that nothing it has
 * was there before it joined.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { callApi } from '../../app/cli/api-client.ts';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import { createMachine, removeMachine } from '../../app/providers/local/host-machine.ts';
import { hostNetns } from '../../app/providers/local/local-names.ts';
import {
  conclusionOf,
  eventually,
  listHosts,
  never,
  pushJob,
  settled,
  startFleet,
} from './fleet.ts';

const MACHINE = 'brought';
const CLI = join(import.meta.dirname, '../../app/cli/architect.ts');
/** Mounts of its own over what `host join` writes to, then the CLI in the machine's namespace. */
const JOIN = `set -e
for dir in /etc/architect-agent /var/lib/architect/agent; do
  mkdir -p $dir
  mount -t tmpfs -o mode=755,size=40g brought $dir
done
exec nsenter --net=/run/netns/"$NETNS" node "$CLI" host join "$TOKEN" --foreground`;

let fleet: SimulatedFleet;
let artifacts: string;

beforeAll(async () => {
  artifacts = await mkdtemp('/var/tmp/architect-brought-');
  // QEMU runs as a user of its own and reads the template there.
  await chmod(artifacts, 0o755);
  fleet = await startFleet({ hosts: 0, environment: { ARCHITECT_PROVIDER: 'static' } });
  await createMachine({ network: fleet.network, machineId: MACHINE, index: 80 }, never);
});

afterAll(async () => {
  await removeMachine({ home: homeDir(), fleet: fleet.name }, MACHINE);
  expect(await fleet.close()).toEqual([]);
  await rm(artifacts, { recursive: true, force: true });
});

it('joins with its token, fetches image and template, and runs a job', async () => {
  const { token } = await callApi(fleet.api, {
    method: 'POST',
    path: '/hosts/tokens',
    answer: z.object({ token: z.string() }),
  });
  await startAgent(token);
  const host = await eventually('the brought host is admitted and has the template', async () =>
    (await listHosts(fleet)).find(({ state }) => state === 'connected'),
  );
  const jobId = await pushJob(fleet, 'uname -r && nproc');
  const { job, vm } = await settled(fleet, jobId);
  expect({ conclusion: job.conclusion, why: vm?.why }).toMatchObject({ conclusion: 'success' });
  expect(vm?.hostId).toBe(host.id);
  expect(await conclusionOf(fleet, jobId)).toBe('success');
});

/** It ends with its machine: `removeMachine` ends every process in the namespace. */
async function startAgent(token: string): Promise<void> {
  await using log = await open(join(fleet.dir, 'brought.log'), 'w', 0o600);
  const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', JOIN], {
    stdio: ['ignore', log.fd, log.fd],
    env: {
      PATH: process.env.PATH,
      NETNS: hostNetns(fleet.name, MACHINE),
      CLI,
      TOKEN: token,
      ARCHITECT_FLEET: fleet.name,
      ARCHITECT_ARTIFACTS: artifacts,
      ARCHITECT_AGENT_NAME: MACHINE,
      ARCHITECT_AGENT_CAPACITY: '2cpu-4gb',
    },
  });
  await once(child, 'spawn');
}

function homeDir(): string {
  return process.env.ARCHITECT_HOME ?? '/var/lib/architect';
}
