/** What becomes of a local fleet when its processes are killed. */
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { isRunning } from '../../../app/process-ref.ts';
import { listLeftovers } from '../../../app/providers/local/leftovers.ts';
import { hostDir } from '../../../app/providers/local/local-names.ts';
import { type FleetHome, readMachine } from '../../../app/providers/local/machine-record.ts';
import { destroyFleet, sweepDeadFleets } from '../../../app/providers/local/sweep.ts';
import {
  type LocalFleet,
  newFleetName,
  startLocalFleet,
} from '../../contract/provider/local-fleet.ts';
import { until } from './until.ts';

const TOKEN = 'architect_a-very-secret-token';
const signal = () => AbortSignal.timeout(60_000);
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function newFleet(): Promise<LocalFleet> {
  const fleet = await startLocalFleet();
  cleanups.push(fleet.destroy);
  return fleet;
}

async function launch({ provider }: LocalFleet, clientToken = 'one'): Promise<string> {
  const request = { offerId: 'any', clientToken, enrolmentToken: TOKEN };
  return (await provider.launch(request, signal())).machineId;
}

const Started = z.object({
  pid: z.int(),
  argv: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
  token: z.string(),
});

/** What the tiny agent wrote down, once it is another process than `not`. */
function untilStarted({ home, fleet }: FleetHome, machineId: string, not = 0) {
  return until(`the agent of ${machineId}`, async () => {
    const path = join(hostDir(home, fleet, machineId), 'tiny-agent.json');
    const text = await readFile(path, 'utf8').catch(() => '');
    if (!text.endsWith('}')) return undefined;
    const started = Started.parse(JSON.parse(text));
    return started.pid === not ? undefined : started;
  });
}

test('the agent is told all by environment and a 0600 file, the token nowhere else', async () => {
  const fleet = await newFleet();
  const machineId = await launch(fleet);
  const started = await untilStarted(fleet.at, machineId);
  const { environment } = started;
  expect(environment).toMatchObject({
    ARCHITECT_FLEET: fleet.at.fleet,
    ARCHITECT_AGENT_DIR: hostDir(fleet.at.home, fleet.at.fleet, machineId),
    ARCHITECT_AGENT_CAPACITY: '2cpu-2gb',
    ARCHITECT_ARTIFACTS: join(fleet.at.home, 'artifacts'),
  });
  expect(started.token).toBe(TOKEN);
  expect(JSON.stringify([environment, started.argv])).not.toContain(TOKEN);
  expect((await stat(environment.ARCHITECT_AGENT_TOKEN_FILE ?? '')).mode & 0o777).toBe(0o600);
});

test('an agent that is killed is started again', async () => {
  const fleet = await newFleet();
  const machineId = await launch(fleet);
  const first = await untilStarted(fleet.at, machineId);
  process.kill(first.pid, 'SIGKILL');
  const second = await untilStarted(fleet.at, machineId, first.pid);
  expect(second.environment).toEqual(first.environment);
});

test('another control plane finds the hosts as they run, and supervises them', async () => {
  const fleet = await newFleet();
  const machineId = await launch(fleet);
  const first = await untilStarted(fleet.at, machineId);
  await fleet.provider.stop();
  const next = fleet.another();
  cleanups.push(() => next.stop());
  await next.start();
  expect((await next.list(signal())).map((host) => host.machineId)).toEqual([machineId]);
  const record = await readMachine(fleet.at, machineId);
  expect(record?.agent?.pid).toBe(first.pid);
  process.kill(first.pid, 'SIGKILL');
  await untilStarted(fleet.at, machineId, first.pid);
});

test('a host whose namespace is gone is not listed, and the next start clears it away', async () => {
  const fleet = await newFleet();
  const machineId = await launch(fleet);
  await fleet.provider.stop();
  await execa('ip', ['netns', 'del', `ar-${fleet.at.fleet}-${machineId}`]);
  expect(await fleet.provider.list(signal())).toEqual([]);
  const next = fleet.another();
  await next.start();
  cleanups.push(() => next.stop());
  expect(await readMachine(fleet.at, machineId)).toBeUndefined();
});

test('terminating ends every process in the host and in its VMs, whoever started it', async () => {
  const fleet = await newFleet();
  const machineId = await launch(fleet);
  const { netns, vmNetns } = await addVmNetns(fleet, machineId);
  const inVm = execa('nsenter', [`--net=/run/netns/${vmNetns}`, 'sleep', '300'], { reject: false });
  await fleet.provider.terminate(machineId, signal());
  expect((await inVm).signal).toBe('SIGKILL');
  const names = (await execa('ip', ['netns', 'list'])).stdout;
  expect(names).not.toContain(netns);
  expect(names).not.toContain(vmNetns);
});

/** What the host-agent makes of a VM's network, as far as the provider looks. */
async function addVmNetns({ at }: LocalFleet, machineId: string) {
  const netns = `ar-${at.fleet}-${machineId}`;
  const vmNetns = `ar-${at.fleet}-vm-1a2b3c4d`;
  await execa('ip', ['netns', 'add', vmNetns]);
  await execa('ip', ['-n', netns, '-batch', '-'], {
    input: `link add arvtest type veth peer name up0 netns ${vmNetns}
link set arvtest alias "${vmNetns} 10.201.0.1"\n`,
  });
  return { netns, vmNetns };
}

test('after SIGKILL of the owner hosts run on, and the sweep leaves nothing', async () => {
  const home = await mkdtemp(join(tmpdir(), 'architect-home-'));
  const fleet = newFleetName();
  const at = { home, fleet };
  cleanups.push(async () => {
    await destroyFleet(at);
    await rm(home, { recursive: true, force: true });
  });
  const program = fileURLToPath(new URL('owner-program.ts', import.meta.url));
  const owner = execa(process.execPath, [program, home, fleet], { reject: false });
  await once(owner.stdout, 'data');
  expect(await sweepDeadFleets(home)).toEqual([]);
  owner.kill('SIGKILL');
  await owner;
  expect((await listLeftovers(at)).filter((name) => name.startsWith('process'))).toHaveLength(4);
  const [report, ...more] = await sweepDeadFleets(home);
  expect(more).toEqual([]);
  expect(report).toMatchObject({ fleet, failed: [] });
  expect(report?.removed).toEqual(expect.arrayContaining([`link ar-${fleet}`]));
  expect(await listLeftovers(at)).toEqual([]);
});

test('two fleets run side by side, and removing one leaves the other alone', async () => {
  const one = await newFleet();
  const two = await newFleet();
  const [first, second] = [await launch(one), await launch(two)];
  expect(first).toBe(second);
  expect(one.network.bridgeAddress).not.toBe(two.network.bridgeAddress);
  await untilStarted(two.at, second);
  await one.provider.stop();
  expect((await destroyFleet(one.at)).failed).toEqual([]);
  expect(await two.provider.list(signal())).toHaveLength(1);
  const record = await readMachine(two.at, second);
  expect(record?.agent !== null && record?.agent !== undefined && isRunning(record.agent)).toBe(
    true,
  );
});
