import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Agent, request } from 'undici';
import { expect, test } from 'vitest';
import { startApi } from '../../../app/api/api-server.ts';
import { ensureApiToken } from '../../../app/api/api-token.ts';
import type { ApiPorts } from '../../../app/api/ports.ts';
import { chooseJobs } from '../../../app/api/record-readers.ts';
import { runProgram } from '../../../app/cli/program.ts';
import type { Gateway } from '../../../app/gateways/ports.ts';
import {
  isOpenMove,
  type MigrationRecord,
  type MoveWish,
  newMigration,
} from '../../../app/records/migration-record.ts';
import { refused } from '../../../host-agent/protocol/errors.ts';
import { HostId, JobId, MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import { CLASS, POOL } from '../../fixtures/protocol.ts';
import { fleetHost, jobRecord, vmRecord } from '../../fixtures/records.ts';
import { TRAFFIC } from '../../fixtures/traffic.ts';

const job = jobRecord({ state: 'lost', why: 'QEMU ended with signal 9.', vmId: 'vm-1' });
const huge = jobRecord({ id: '9', class: { ...CLASS, diskGib: 500 } });
const vm = vmRecord({ phase: 'failed', forJob: '7', runsJob: '7' });

const doneMove: MigrationRecord = {
  ...newMigration(
    {
      ...{ id: MigrationId.parse('mig-0'), vmId: VmId.parse('vm-1'), jobId: JobId.parse('7') },
      ...{ kind: 'live', from: HostId.parse('host-1'), to: HostId.parse('host-2') },
      ...{ epoch: 2, because: 'The operator wants it elsewhere.', deadlineMs: 9 },
    },
    1_000,
  ),
  ...{ phase: 'done', endedAtMs: 2_000, blackoutMs: 21 },
  ...{ bytesFromSource: 1_500_000, bytesFromStore: 42_000_000 },
};

const CAPACITY = { vcpus: 4, memoryMib: 14_745, diskGib: 166 };
const PRICED = { spot: true, pricePerHourUsd: 0.08, place: 'a' };

const standby: Gateway = {
  ...{ id: HostId.parse('gw-1'), hostname: 'gw', state: 'connected', underlay: '100.64.0.1' },
  ...{
    flipPort: 1,
    publicAddress: '203.0.113.1',
    floating: '203.0.113.1',
    hears: undefined,
    vms: 3,
    stateSinceMs: 0,
  },
};

function stateful() {
  const revoked: string[] = [];
  const moves: MigrationRecord[] = [];
  const wishes = new Map<MigrationId, MoveWish>();
  const drained = new Set<HostId>();
  const state = { job, vm };
  const ports: ApiPorts = {
    jobs: {
      listJobs: async (filter) => chooseJobs([state.job, huge], filter),
      readJob: async (id) => [state.job, huge].find((one) => one.id === id),
    },
    vms: {
      listVms: async () => [state.vm],
      readVm: async (id) => (id === vm.id ? state.vm : undefined),
    },
    costs: { costOf: () => ({ usd: 0.01, onDemandUsd: 0.04 }) },
    timelines: { timeline: () => [{ moment: 'webhook-received', atMs: 0 }] },
    hosts: {
      hosts: () => [fleetHost({ hostname: 'worker' })],
    },
    gateways: {
      gateways: () => [standby],
      roles: () => new Map([[standby.id, { kind: 'acting' as const, standbys: [] }]]),
      takeOver: async () => refused('It acts already.'),
      offerPort: async (_, { protocol, guestPort, publicPort = 8_192, undo }) => {
        if (guestPort === 1) return refused('Every public port of this gateway is taken.');
        const ports = undo ? [] : [{ protocol, guestPort, publicPort }];
        return { kind: 'offered', address: '203.0.113.1', ports };
      },
      traffic: async ({ phase }) =>
        phase === 'busy'
          ? { kind: 'counted', gateway: standby.id, traffic: TRAFFIC }
          : refused('The gateway gw-1 does not answer. Try again later.'),
    },
    door: {
      issueToken: (ttlMs) => ({ kind: 'issued', token: 'architect_x', expiresAtMs: ttlMs }),
      revoke: (hostId) => {
        revoked.push(hostId);
        return hostId === 'host-1';
      },
    },
    moves: {
      movesOf: () => moves,
      readStatus: async (id) => ({
        wish: wishes.get(id),
        migration: moves.find((one) => one.id === id),
      }),
    },
    operations: {
      move: async ({ vmId, to }) => {
        const id = MigrationId.parse(`mig-${wishes.size + 1}`);
        const wish = { id, vmId, to, deadlineMs: null, askedAtMs: 0, why: 'No host has room.' };
        wishes.set(id, { ...wish, state: to === null ? 'begun' : 'ended' });
        if (to === null) moves.push({ ...doneMove, id });
        return id;
      },
      setDrained: async (hostId, isDrained) => {
        if (isDrained) drained.add(hostId);
        else drained.delete(hostId);
      },
      drainedHosts: () => drained,
    },
    pool: () => POOL,
    market: {
      look: async () => ({
        provider: 'ec2',
        offers: [{ id: 'm8i.xlarge/a/spot', capacity: CAPACITY, ...PRICED }],
        shut: [{ offerId: 'c5.metal/a/spot', why: 'InsufficientInstanceCapacity', untilMs: 9e12 }],
        ...{ usdPerHour: 0.08, maxUsdPerHour: 2, usdToday: 1, maxUsdPerDay: null, decisions: [] },
        ...{ starts: [] },
      }),
    },
    waiting: {
      whyWaiting: (id) =>
        id === huge.id
          ? { cause: 'larger-host', why: 'It waits for a larger host.', sinceMs: 5 }
          : undefined,
    },
    readiness: { check: async () => [{ name: 'redis', ready: false, detail: 'is gone' }] },
    version: '1.2.3',
  };
  return { ports, revoked, state };
}

async function openApi() {
  const homeDir = await mkdtemp(join(tmpdir(), 'api-'));
  const dataDir = join(homeDir, 'fleets', 'test');
  const socketPath = join(dataDir, 'api.sock');
  const { ports, revoked, state } = stateful();
  await mkdir(dataDir, { recursive: true });
  const token = await ensureApiToken(dataDir);
  const options = { socketPath, token, ports, now: Date.now, logger: pino({ level: 'silent' }) };
  const server = await startApi({ ...options, listen: undefined });
  const dispatcher = new Agent({ connect: { socketPath } });
  return {
    homeDir,
    dataDir,
    socketPath,
    token,
    options,
    revoked,
    state,
    call: async (
      path: string,
      init: { method?: 'GET' | 'POST' | 'DELETE'; bearer?: string; body?: string } = {},
    ) => {
      const { method = 'GET', bearer = token, body } = init;
      const answer = await request(`http://architect${path}`, {
        dispatcher,
        method,
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body }),
      });
      const type = answer.headers['content-type'];
      return { status: answer.statusCode, type, body: await answer.body.json() };
    },
    async [Symbol.asyncDispose]() {
      await dispatcher.destroy();
      await server.close();
      await rm(homeDir, { recursive: true, force: true });
    },
  };
}

async function runCli(homeDir: string, ...argv: string[]) {
  const written = { out: '', error: '' };
  const exitCode = await runProgram(argv, {
    environment: { ARCHITECT_HOME: homeDir, ARCHITECT_FLEET: 'test' },
    now: () => 60_000,
    write: (text) => {
      written.out += text;
    },
    writeProgress: (text) => {
      written.error += text;
    },
    writeError: (text) => {
      written.error += text;
    },
  });
  return { exitCode, ...written };
}

test('the token is private, made once, and wanted everywhere but for health', async () => {
  await using api = await openApi();
  expect(await ensureApiToken(api.dataDir)).toBe(api.token);
  for (const file of ['api-token', 'api.sock']) {
    expect((await stat(join(api.dataDir, file))).mode & 0o777).toBe(0o600);
  }
  expect(await api.call('/api/v1/jobs')).toMatchObject({ status: 200 });
  for (const path of ['/api/v1/jobs', '/api/v1/openapi.json', '/other']) {
    expect(await api.call(path, { bearer: 'wrong' })).toMatchObject({
      status: 401,
      type: expect.stringContaining('application/problem+json'),
    });
  }
  expect(await api.call('/healthz', { bearer: '' })).toMatchObject({ status: 200 });
  expect(await api.call('/readyz', { bearer: '' })).toMatchObject({
    status: 503,
    body: { ready: false, checks: [{ name: 'redis', detail: 'is gone' }] },
  });
});

test('what is wrong is said as problem+json', async () => {
  await using api = await openApi();
  const problem = { type: expect.stringContaining('application/problem+json') };
  expect(await api.call('/api/v1/jobs?state=odd')).toMatchObject({ status: 400, ...problem });
  expect(await api.call('/api/v1/jobs?limit=0')).toMatchObject({ status: 400, ...problem });
  expect(await api.call('/api/v1/jobs/8')).toMatchObject({
    status: 404,
    body: { status: 404, detail: 'There is no job 8.' },
  });
  expect(await api.call('/nowhere')).toMatchObject({ status: 404, ...problem });
  const token = { method: 'POST', body: '{"ttlSeconds":"x"}' } as const;
  expect(await api.call('/api/v1/hosts/tokens', token)).toMatchObject({ status: 400, ...problem });
  const large = { method: 'POST', body: `"${'x'.repeat(20_000)}"` } as const;
  expect(await api.call('/api/v1/hosts/tokens', large)).toMatchObject({ status: 413, ...problem });
  const broken = { method: 'POST', body: '{' } as const;
  expect(await api.call('/api/v1/hosts/tokens', broken)).toMatchObject({ status: 400, ...problem });
});

test('a second control plane does not take a socket that is served', async () => {
  await using api = await openApi();
  await expect(startApi({ ...api.options, listen: undefined })).rejects.toThrow(/Another control/);
  expect(await api.call('/api/v1/version')).toMatchObject({ body: { version: '1.2.3' } });
});

test('the CLI reads the fleet over the socket', async () => {
  await using api = await openApi();
  const jobs = await runCli(api.homeDir, 'jobs', '--json');
  expect(jobs).toMatchObject({ exitCode: 0, error: '' });
  expect(JSON.parse(jobs.out)).toMatchObject({ jobs: [{ id: '7', state: 'lost' }, { id: '9' }] });
  const queued = await runCli(api.homeDir, 'jobs', '--state', 'queued', '--json');
  expect(JSON.parse(queued.out)).toMatchObject({ jobs: [{ id: '9' }] });
  const waits = await runCli(api.homeDir, 'job', '9');
  expect(waits.out).toMatch(/waits +larger-host, for .*: It waits for a larger host\./);
  const one = await runCli(api.homeDir, 'job', '7', '--json');
  expect(JSON.parse(one.out)).toMatchObject({ job: { why: job.why }, vm: { hostId: 'host-1' } });
  expect((await runCli(api.homeDir, 'job', '7')).out).toContain('QEMU ended with signal 9.');
  const hosts = await runCli(api.homeDir, 'hosts', '--json');
  expect(JSON.parse(hosts.out)).toMatchObject({ hosts: [{ id: 'host-1', state: 'connected' }] });
  const offers = await runCli(api.homeDir, 'offers');
  expect(offers.out).toMatch(/costs \$0\.0800 of \$2\.0000 per hour[\s\S]*m8i\.xlarge\/a\/spot/);
  const market = await runCli(api.homeDir, 'offers', '--json');
  expect(JSON.parse(market.out)).toMatchObject({ shut: [{ offerId: 'c5.metal/a/spot' }] });
  const vms = await runCli(api.homeDir, 'vms', '--json');
  expect(JSON.parse(vms.out)).toMatchObject({ vms: [{ id: 'vm-1', phase: 'failed' }] });
  const token = await runCli(api.homeDir, 'host', 'token', '--ttl', '2', '--json');
  expect(JSON.parse(token.out)).toEqual({ token: 'architect_x', expiresAtMs: 120_000 });
  expect(await runCli(api.homeDir, 'host', 'revoke', 'host-1')).toMatchObject({ exitCode: 0 });
  expect(api.revoked).toEqual(['host-1']);
});

test('the CLI says what went wrong and what to do, and exits accordingly', async () => {
  await using api = await openApi();
  expect(await runCli(api.homeDir, 'job', '8')).toMatchObject({
    exitCode: 1,
    error: 'architect: There is no job 8.\n',
  });
  expect(await runCli('/nowhere', 'jobs')).toMatchObject({
    exitCode: 1,
    error: expect.stringContaining('architect start'),
  });
  expect(await runCli(api.homeDir, 'jobs', '--state', 'odd')).toMatchObject({ exitCode: 2 });
  expect(await runCli(api.homeDir, 'nonsense')).toMatchObject({ exitCode: 2 });
  expect(await runCli(api.homeDir, 'host', 'join', 'nonsense')).toMatchObject({
    exitCode: 1,
    error: expect.stringContaining('no enrolment token'),
  });
  const looks = ['jobs', 'job', 'hosts', 'vms', 'offers', 'gateways', 'traffic'];
  const acts = ['start', 'demo', 'host', 'migrate', 'drain', 'drill', 'takeover', 'expose'];
  for (const command of [...looks, ...acts]) {
    const help = await runCli(api.homeDir, command, '--help');
    expect(help).toMatchObject({ exitCode: 0, out: expect.stringMatching(/Examples?:/) });
  }
});

test('a VM is moved, a job is drilled, and the job shows its moves and its lock', async () => {
  await using api = await openApi();
  expect(isOpenMove(doneMove)).toBe(false);
  expect(await runCli(api.homeDir, 'migrate', 'vm-1')).toMatchObject({
    exitCode: 1,
    error: 'architect: The VM vm-1 has ended.\n',
  });
  expect(await runCli(api.homeDir, 'drill', '7')).toMatchObject({
    exitCode: 1,
    error: expect.stringContaining('does not run (it is lost)'),
  });
  api.state.vm = { ...vm, phase: 'busy' };
  api.state.job = { ...job, state: 'in-progress', why: null };
  expect(await runCli(api.homeDir, 'migrate', 'vm-1')).toEqual({
    exitCode: 0,
    out: 'vm-1 moved from host-1 to host-2, away for 21 ms.\n',
    error: '',
  });
  const json = await runCli(api.homeDir, 'migrate', 'vm-1', '--json');
  expect(JSON.parse(json.out)).toMatchObject({ state: 'done', migration: { blackoutMs: 21 } });
  expect(await runCli(api.homeDir, 'migrate', 'vm-1', '--to', 'host-1')).toMatchObject({
    exitCode: 1,
    error: 'architect: The VM vm-1 is on host-1 already.\n',
  });
  expect(await runCli(api.homeDir, 'migrate', 'vm-1', '--to', 'host-9')).toMatchObject({
    exitCode: 1,
    error: 'architect: There is no host host-9.\n',
  });
  const drill = await runCli(api.homeDir, 'drill', '7', '--within', '30');
  expect(drill).toMatchObject({ exitCode: 0 });
  expect(drill.out).toMatch(/host-1 +host-2 +done +21 ms +1\.5 MB +42\.0 MB +-/);
  expect(drill.out).toMatch(/lock had at least 8 min 59 s left/);
  expect(await runCli(api.homeDir, 'drill', '7', '--within', '0')).toMatchObject({ exitCode: 2 });
});

test('gateways are listed, and a standby is made to act', async () => {
  await using api = await openApi();
  expect((await runCli(api.homeDir, 'gateways')).out).toMatch(
    /gw-1 +connected +acting +203\.0\.113\.1 +3/,
  );
  expect(await runCli(api.homeDir, 'takeover', 'gw-2')).toMatchObject({
    exitCode: 1,
    error: 'architect: There is no gateway gw-2.\n',
  });
  expect(await runCli(api.homeDir, 'takeover', 'gw-1')).toMatchObject({
    exitCode: 1,
    error: 'architect: It acts already.\n',
  });
});

test('a port of a VM is offered, and taken back', async () => {
  await using api = await openApi();
  expect(await runCli(api.homeDir, 'expose', 'vm-1', '8080', '--udp')).toMatchObject({
    exitCode: 0,
    out: '203.0.113.1:8192 leads to port 8080 of vm-1 (udp)\n',
  });
  expect(await runCli(api.homeDir, 'expose', 'vm-1', '8080', '--public', '9000')).toMatchObject({
    out: '203.0.113.1:9000 leads to port 8080 of vm-1 (tcp)\n',
  });
  expect(await runCli(api.homeDir, 'expose', 'vm-1', '8080', '--undo')).toMatchObject({
    out: 'No public port leads to vm-1.\n',
  });
  expect(await runCli(api.homeDir, 'expose', 'vm-1', '1')).toMatchObject({ exitCode: 1 });
  expect(await runCli(api.homeDir, 'expose', 'vm-9', '80')).toMatchObject({
    exitCode: 1,
    error: 'architect: There is no VM vm-9.\n',
  });
  expect(await runCli(api.homeDir, 'expose', 'vm-1', 'http')).toMatchObject({ exitCode: 2 });
});

test('what a VM’s gateway has counted of it is shown', async () => {
  await using api = await openApi();
  expect(await runCli(api.homeDir, 'traffic', 'vm-1')).toMatchObject({
    exitCode: 1,
    error: 'architect: The gateway gw-1 does not answer. Try again later.\n',
  });
  api.state.vm = { ...vm, phase: 'busy' };
  const { out } = await runCli(api.homeDir, 'traffic', 'vm-1');
  expect(out).toMatch(/all +1\.2 MB +900 +34\.0 kB +40\n/);
  expect(out).toMatch(/198\.51\.100\.0\/24 +980 B +2 +1\.0 kB +1\n/);
  expect(out).toMatch(/dropped: 7 guard\n/);
  const json = await runCli(api.homeDir, 'traffic', 'vm-1', '--json');
  expect(JSON.parse(json.out)).toEqual({ vmId: 'vm-1', gatewayId: 'gw-1', ...TRAFFIC });
  expect(await runCli(api.homeDir, 'traffic', 'vm-9')).toMatchObject({
    exitCode: 1,
    error: 'architect: There is no VM vm-9.\n',
  });
});

test('a host is drained until that is undone', async () => {
  await using api = await openApi();
  expect(await runCli(api.homeDir, 'drain', 'host-9')).toMatchObject({ exitCode: 1 });
  expect(await runCli(api.homeDir, 'drain', 'host-1')).toMatchObject({
    exitCode: 0,
    out: 'host-1 is empty and stays so.\n',
  });
  expect((await runCli(api.homeDir, 'hosts')).out).toContain('drained');
  const undone = await runCli(api.homeDir, 'drain', 'host-1', '--undo', '--json');
  expect(JSON.parse(undone.out)).toEqual({ hostId: 'host-1', drained: false, vmsLeft: 0 });
  expect((await runCli(api.homeDir, 'hosts')).out).not.toContain('drained');
});
