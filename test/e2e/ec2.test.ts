/**
 * A fleet that buys its hosts: the control plane speaks to the fake EC2, whose instances are real local
 * hosts. The test stands in for an instance's first boot: it takes the token out of the user data.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MarketView } from '../../app/api/views.ts';
import { callApi } from '../../app/cli/api-client.ts';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import { fleetDir, machineIdOf } from '../../app/providers/local/local-names.ts';
import {
  createLocalProvider,
  type LocalProvider,
} from '../../app/providers/local/local-provider.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { type FakeEc2, startFakeEc2 } from '../fakes/ec2/ec2-server.ts';
import type { FakeInstance } from '../fakes/ec2/ec2-world.ts';
import {
  conclusionOf,
  eventually,
  listHosts,
  never,
  pushJob,
  settled,
  startFleet,
} from './fleet.ts';
import { openGate } from './gate.ts';

const NAME = `ec2${process.pid.toString(36).slice(-4)}`;
const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
const NOTICE_MS = 75_000;
const SETTINGS = {
  region: 'eu-central-1',
  ami: 'ami-0123456789abcdef0',
  subnets: ['subnet-0000000a', 'subnet-0000000b'],
  securityGroups: ['sg-0123456789abcdef0'],
  types: ['m7i.*'],
  onDemandUsdPerHour: { 'm7i.xlarge': 0.3 },
  fleet: { minHosts: 0, maxHosts: 3, maxUsdPerHour: 1, headroom: 'off' },
};

let folder: string;
let ec2: FakeEc2;
let fleet: SimulatedFleet;
let local: LocalProvider;
const boots: Promise<unknown>[] = [];

beforeAll(async () => {
  ec2 = await startFakeEc2();
  folder = await mkdtemp(join(tmpdir(), 'architect-ec2-'));
  const settingsFile = join(folder, 'ec2.json');
  await writeFile(settingsFile, JSON.stringify({ ...SETTINGS, endpoint: ec2.url }));
  fleet = await startFleet({
    name: NAME,
    hosts: 0,
    environment: {
      ARCHITECT_PROVIDER: 'ec2',
      ARCHITECT_EC2_FILE: settingsFile,
      ARCHITECT_STORE: join(fleetDir(HOME, NAME), 'chunks'),
      AWS_ACCESS_KEY_ID: 'AKIDTEST',
      AWS_SECRET_ACCESS_KEY: 'x',
    },
  });
  local = createLocalProvider({
    ...{ home: HOME, network: fleet.network, artifactsDir: join(HOME, 'artifacts') },
    ...{ desiredHosts: 0, vcpus: 4, memoryMib: 8192, logger: pino({ level: 'silent' }) },
  });
  await local.start();
  standInForInstances();
});

afterAll(async () => {
  await Promise.allSettled(boots);
  await local?.stop();
  const left = await fleet?.close();
  await ec2?.stop();
  await rm(folder, { recursive: true, force: true });
  expect(left).toEqual([]);
});

it('buys a host for a job, loses it to EC2, and ends the job green on the one it buys instead', async () => {
  await using gate = await openGate(fleet.peer.host);
  const jobId = await pushJob(fleet, askAgain(gate.script('bought')));
  await gate.arrived();
  const [first] = ec2.world.alive();
  if (first === undefined) throw new Error('the job runs, and nothing was bought');
  const host = HostId.parse(await hostIdOf(first.id));
  const { ended } = await fleet.reclaim(host, NOTICE_MS);
  await eventually('the VM is on the replacement', async () => {
    const [, second] = ec2.world.instances.values();
    return second !== undefined && (await vmsOn(second.id)) > 0 && (await vmsOn(first.id)) === 0;
  });
  gate.open();
  const { job, moves, cost } = await settled(fleet, jobId);
  expect(job).toMatchObject({ conclusion: 'success', vmsStarted: 1 });
  expect(moves.some(({ kind, phase }) => kind === 'live' && phase === 'done')).toBe(true);
  expect(cost?.usd).toBeGreaterThan(0);
  expect(cost?.usd).toBeLessThan(cost?.onDemandUsd ?? 0);
  expect(await conclusionOf(fleet, jobId)).toBe('success');
  const market = await readMarket();
  expect(market.decisions.filter(({ kind }) => kind === 'launch')).toHaveLength(2);
  expect(market.starts).toHaveLength(2);
  for (const start of market.starts) expect(Object.values(start)).not.toContain(null);
  expect(market.shut).toMatchObject([{ offerId: `${first.type}/${first.zone}/spot` }]);
  expect(ec2.world.templates.size).toBe(0);
  await ended;
});

/** Without a gateway a moved VM's connections break, and a silent one never notices. */
function askAgain(script: string): string {
  return `until ( ${script.replace('read -r', 'read -t 2 -r')} ); do sleep 1; done`;
}

/** What an instance would do, and what becomes of it. */
function standInForInstances(): void {
  const tokens = new Map<string, string>();
  ec2.world.newId = () => {
    const clientToken = `ec2-${tokens.size}`;
    const id = machineIdOf(clientToken);
    tokens.set(id, clientToken);
    return id;
  };
  ec2.world.hooks = {
    launched: (instance) => boots.push(boot(instance, tokens.get(instance.id) ?? '')),
    ended: ({ id }) => boots.push(local.terminate(id, never)),
  };
}

async function boot({ id, template, type }: FakeInstance, clientToken: string): Promise<void> {
  const enrolmentToken = /^architect_\S+$/m.exec(template.userData)?.[0] ?? '';
  await local.launch({ offerId: type, clientToken, enrolmentToken }, never);
  const instance = ec2.world.instances.get(id);
  if (instance !== undefined) instance.state = 'running';
}

async function hostIdOf(machineId: string): Promise<string> {
  return (await listHosts(fleet)).find(({ hostname }) => hostname === machineId)?.id ?? '';
}

async function vmsOn(machineId: string): Promise<number> {
  return (await listHosts(fleet)).find(({ hostname }) => hostname === machineId)?.vms.length ?? 0;
}

function readMarket() {
  return callApi(fleet.api, { method: 'GET', path: '/offers', answer: MarketView });
}
