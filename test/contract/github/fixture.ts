/** A simulated GitHub with a webhook receiver, real Octokit clients, and stand-in runners. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createAppAuth } from '@octokit/auth-app';
import { Octokit } from '@octokit/rest';
import { execa } from 'execa';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { type SimulatedGitHub, startSimulatedGitHub } from '../../fakes/github/simulated-github.ts';

export const APP_ID = 4711;
export const WEBHOOK_SECRET = 'the webhook secret';
export const CONTROL_TOKEN = 'control-token';
const STAND_IN = join(import.meta.dirname, '../../../runner-image/stand-in/run.sh');
const UNTIL_LIMIT_MS = 60_000;
const UNTIL_STEP_MS = 20;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

const makeKeys = () =>
  generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });

export const KEYS = makeKeys();

/** An App beside that one, for a simulated GitHub and for who uses it. */
export const OTHER_APP = {
  ...{ appId: 4712, webhookSecret: 'the webhook secret of another' },
  keys: makeKeys(),
};
export const WITH_OTHER_APP = {
  furtherApps: [{ ...OTHER_APP, appPublicKey: OTHER_APP.keys.publicKey }],
};

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export class GitHubFixture {
  readonly github: SimulatedGitHub;
  readonly received: Received[];
  readonly #home: string;
  readonly #closeReceiver: () => Promise<void>;
  readonly #runners: ReturnType<typeof spawnRunner>[] = [];

  constructor(
    github: SimulatedGitHub,
    receiver: { received: Received[]; close: () => Promise<void> },
    home: string,
  ) {
    this.github = github;
    this.received = receiver.received;
    this.#closeReceiver = receiver.close;
    this.#home = home;
  }

  static async start(given: Partial<GivenOptions> = {}): Promise<GitHubFixture> {
    const receiver = await startReceiver();
    const github = await startSimulatedGitHub({
      appId: APP_ID,
      appPublicKey: KEYS.publicKey,
      webhookSecret: WEBHOOK_SECRET,
      webhookUrl: receiver.url,
      controlToken: CONTROL_TOKEN,
      ...given,
    });
    return new GitHubFixture(github, receiver, await mkdtemp(join(tmpdir(), 'sim-github-')));
  }

  async close(): Promise<void> {
    for (const runner of this.#runners) runner.kill('SIGKILL');
    await Promise.allSettled(this.#runners);
    await killProcessesOf(this.#home);
    await this.github.close();
    await this.#closeReceiver();
    await rm(this.#home, { recursive: true, force: true });
  }

  asApp(privateKey = KEYS.privateKey): Octokit {
    return new Octokit({
      baseUrl: this.github.url,
      authStrategy: createAppAuth,
      auth: { appId: APP_ID, privateKey },
      log: QUIET,
    });
  }

  asInstallation(installationId = 1): Octokit {
    return new Octokit({
      baseUrl: this.github.url,
      authStrategy: createAppAuth,
      auth: { appId: APP_ID, privateKey: KEYS.privateKey, installationId },
      log: QUIET,
    });
  }

  withToken(token: string): Octokit {
    return new Octokit({ baseUrl: this.github.url, auth: token, log: QUIET });
  }

  push(workflow: string) {
    const { simulation } = this.github;
    return simulation.push(simulation.world.repository('acme', 'widgets'), workflow);
  }

  async mint(name: string, labels: readonly string[] = ['architect']): Promise<string> {
    const { data } = await this.asInstallation().rest.actions.generateRunnerJitconfigForOrg({
      org: 'acme',
      name,
      labels: [...labels],
      runner_group_id: 1,
    });
    return data.encoded_jit_config;
  }

  /** The stand-in as a plain process with a home of its own. */
  startRunner(jitConfig: string, environment: Readonly<Record<string, string>> = {}) {
    const child = spawnRunner({
      HOME: join(this.#home, String(this.#runners.length)),
      RUNNER_NODE: process.execPath,
      ACTIONS_RUNNER_INPUT_JITCONFIG: jitConfig,
      ...environment,
    });
    this.#runners.push(child);
    return child;
  }

  async readSummary(jobId: number): Promise<string> {
    const headers = { authorization: `Bearer ${CONTROL_TOKEN}` };
    return (await fetch(`${this.github.url}/_sim/jobs/${jobId}/summary`, { headers })).text();
  }

  /** Calls the control API. */
  async control(method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await fetch(`${this.github.url}/_sim${path}`, {
      method,
      headers: {
        authorization: `Bearer ${CONTROL_TOKEN}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
}

/** A runner that was killed leaves its step's processes behind; they have its home. */
async function killProcessesOf(home: string): Promise<void> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (!environment.includes(`HOME=${home}/`)) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended in between.
    }
  }
}

function spawnRunner(env: Readonly<Record<string, string>>) {
  return execa(STAND_IN, [], { env, reject: false, all: true });
}

/** Polls until `look` gives something; throws with `what` after a minute. */
export async function until<T>(what: string, look: () => T | undefined | null | false): Promise<T> {
  const endsAtMs = Date.now() + UNTIL_LIMIT_MS;
  while (Date.now() < endsAtMs) {
    const found = look();
    if (found !== undefined && found !== null && found !== false) return found;
    await delay(UNTIL_STEP_MS);
  }
  throw new Error(`Not within a minute: ${what}`);
}

async function startReceiver() {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (piece) => {
      body += piece;
    });
    request.on('end', () => {
      received.push({ headers: request.headers, body });
      response.end('ok');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { received, close, url: `http://127.0.0.1:${port}/` };
}
