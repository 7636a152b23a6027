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
import { CLASS, POOL } from '../../fixtures/protocol.ts';
import { fleetHost, jobRecord, vmRecord } from '../../fixtures/records.ts';

const job = jobRecord({ state: 'lost', why: 'QEMU ended with signal 9.', vmId: 'vm-1' });
const huge = jobRecord({ id: '9', class: { ...CLASS, diskGib: 500 } });
const vm = vmRecord({ phase: 'failed', forJob: '7', runsJob: '7' });

function stateful() {
  const revoked: string[] = [];
  const ports: ApiPorts = {
    jobs: {
      listJobs: async (filter) => chooseJobs([job, huge], filter),
      readJob: async (id) => [job, huge].find((one) => one.id === id),
    },
    vms: { listVms: async () => [vm], readVm: async () => vm },
    timelines: { timeline: () => [{ moment: 'webhook-received', atMs: 0 }] },
    hosts: {
      hosts: () => [fleetHost({ hostname: 'worker' })],
    },
    door: {
      issueToken: (ttlMs) => ({ token: 'architect_x', expiresAtMs: ttlMs }),
      revoke: (hostId) => {
        revoked.push(hostId);
        return hostId === 'host-1';
      },
    },
    pool: () => POOL,
    readiness: { check: async () => [{ name: 'redis', ready: false, detail: 'is gone' }] },
    version: '1.2.3',
  };
  return { ports, revoked };
}

async function openApi() {
  const homeDir = await mkdtemp(join(tmpdir(), 'api-'));
  const dataDir = join(homeDir, 'fleets', 'test');
  const socketPath = join(dataDir, 'api.sock');
  const { ports, revoked } = stateful();
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
  expect(waits.out).toContain('it wants 500 GiB of disk, and no host has more than 200 GiB');
  const one = await runCli(api.homeDir, 'job', '7', '--json');
  expect(JSON.parse(one.out)).toMatchObject({ job: { why: job.why }, vm: { hostId: 'host-1' } });
  expect((await runCli(api.homeDir, 'job', '7')).out).toContain('QEMU ended with signal 9.');
  const hosts = await runCli(api.homeDir, 'hosts', '--json');
  expect(JSON.parse(hosts.out)).toMatchObject({ hosts: [{ id: 'host-1', state: 'connected' }] });
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
  for (const command of ['start', 'demo', 'jobs', 'job', 'hosts', 'vms', 'host']) {
    const help = await runCli(api.homeDir, command, '--help');
    expect(help).toMatchObject({ exitCode: 0, out: expect.stringMatching(/Examples?:/) });
  }
});
