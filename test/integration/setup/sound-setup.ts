/**
 * A set-up that works from end to end, small enough to break in every way: files, a Redis with an
 * append-only file, the simulated GitHub with one delivery in its log, the real webhook door, and
 * what of the API the doctor asks for.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { expect } from 'vitest';
import { stringify } from 'yaml';
import type { HostView } from '../../../app/api/views.ts';
import { type FrontDoor, openFrontDoor } from '../../../app/front-door.ts';
import { createWebhookHandler } from '../../../app/intake/webhooks.ts';
import { HostId } from '../../../host-agent/protocol/ids.ts';
import {
  APP_ID,
  CONTROL_TOKEN,
  KEYS,
  OTHER_APP,
  WEBHOOK_SECRET,
  WITH_OTHER_APP,
} from '../../contract/github/fixture.ts';
import { type SimulatedGitHub, startSimulatedGitHub } from '../../fakes/github/simulated-github.ts';
import { ENTERPRISE } from '../../fixtures/enterprise.ts';
import { hostFacts, POOL } from '../../fixtures/protocol.ts';
import { freePort } from './free-port.ts';

const WORKFLOW =
  'on: push\njobs:\n  one:\n    runs-on: architect\n    steps:\n      - run: "true"\n';
const PATH = process.env.PATH ?? '';

export function hostView(over: Partial<HostView> = {}): HostView {
  return {
    ...{ id: HostId.parse('host-1'), hostname: 'worker', state: 'connected', why: null },
    ...{ stateSinceMs: 0, capacity: null, vms: [], notice: null, drained: false },
    facts: hostFacts({ accelerator: 'kvm' }),
    artifacts: [POOL.image, POOL.template],
    ...over,
  };
}

export interface SoundSetup {
  readonly github: SimulatedGitHub;
  readonly redis: Redis;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly environment: NodeJS.ProcessEnv;
  /** As the API tells; to be changed in place. */
  readonly hosts: HostView[];
  path(...parts: string[]): string;
  /** Writes the file with these sections of it changed. */
  configure(over?: Readonly<Record<string, unknown>>): void;
  close(): Promise<void>;
}

type Closers = (() => Promise<unknown>)[];

export async function startSoundSetup(): Promise<SoundSetup> {
  const dir = mkdtempSync(join(tmpdir(), 'architect-doctor-'));
  const closers: Closers = [];
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    return { ...(await open(dir, closers)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(dir: string, closers: Closers): Promise<Omit<SoundSetup, 'close'>> {
  const path = (...parts: string[]) => join(dir, ...parts);
  writeFileSync(path('key'), KEYS.privateKey, { mode: 0o600 });
  writeFileSync(path('secret'), WEBHOOK_SECRET, { mode: 0o600 });
  writeFileSync(path('other-key'), OTHER_APP.keys.privateKey, { mode: 0o600 });
  writeFileSync(path('token'), ENTERPRISE.token, { mode: 0o600 });
  const github = await openGithub(closers);
  const { redis, port } = await openRedis(path('redis'), closers);
  const hosts = [hostView()];
  const settings = {
    home: path('home'),
    github: {
      apiUrl: github.url,
      appId: APP_ID,
      privateKeyFile: path('key'),
      webhookSecretFile: path('secret'),
    },
    redis: { url: `redis://127.0.0.1:${port}` },
    store: { folder: path('chunks') },
  };
  const configure = (over: Readonly<Record<string, unknown>> = {}) =>
    writeFileSync(path('architect.yaml'), stringify({ ...settings, ...over }));
  configure();
  await openApi(path('home', 'fleets', 'main'), hosts, closers);
  const pools = path('home', 'artifacts', 'pools');
  mkdirSync(pools, { recursive: true });
  writeFileSync(join(pools, 'full-x64-tcg-qemu64.json'), JSON.stringify(POOL));
  const environment = { ARCHITECT_CONFIG: path('architect.yaml'), PATH };
  return { github, redis, settings, environment, hosts, path, configure };
}

async function openGithub(closers: Closers): Promise<SimulatedGitHub> {
  const given = { appId: APP_ID, appPublicKey: KEYS.publicKey, webhookSecret: WEBHOOK_SECRET };
  const options = { ...given, ...WITH_OTHER_APP, enterprise: ENTERPRISE };
  const github = await startSimulatedGitHub({ ...options, controlToken: CONTROL_TOKEN });
  closers.push(() => github.close());
  const port = await freePort();
  const door = await openDoor(github.url, port);
  closers.push(() => door.close());
  const { webhooks, world } = github.simulation;
  webhooks.url = `http://127.0.0.1:${port}/api/github/webhooks`;
  github.simulation.push(world.repository('acme', 'widgets'), WORKFLOW);
  await expect.poll(() => webhooks.list().length).toBeGreaterThan(0);
  return github;
}

async function openDoor(apiUrl: string, port: number): Promise<FrontDoor> {
  const app = { apiUrl, appId: APP_ID, privateKey: KEYS.privateKey };
  const webhooks = await createWebhookHandler({
    github: { ...app, webhookSecret: WEBHOOK_SECRET },
    queue: { add: async () => undefined },
    logger: pino({ level: 'silent' }),
  });
  const readiness = { check: async () => [] };
  return await openFrontDoor({ listen: { host: '127.0.0.1', port }, webhooks, readiness });
}

async function openRedis(dir: string, closers: Closers) {
  const port = await freePort();
  mkdirSync(dir);
  const kept = ['--dir', dir, '--appendonly', 'yes', '--save', ''];
  const server = execa('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', ...kept], {
    reject: false,
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const redis = new Redis({ port, retryStrategy: () => 50 });
  redis.on('error', () => undefined);
  closers.push(async () => {
    redis.disconnect();
    server.kill('SIGKILL');
    await server;
  });
  await redis.ping();
  return { redis, port };
}

async function openApi(fleetDir: string, hosts: HostView[], closers: Closers): Promise<void> {
  mkdirSync(fleetDir, { recursive: true });
  writeFileSync(join(fleetDir, 'api-token'), 'token', { mode: 0o600 });
  const server = createServer((request, response) => {
    const answers: Readonly<Record<string, unknown>> = {
      '/api/v1/hosts': { hosts },
      '/api/v1/pool': { pool: POOL },
    };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answers[request.url ?? '']));
  });
  await new Promise<void>((resolve) => server.listen(join(fleetDir, 'api.sock'), resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
}
