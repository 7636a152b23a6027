/**
 * A whole fleet on this machine, for the demo and the end-to-end tests: a simulated GitHub, a
 * server outside the fleet, and a control plane with the local provider, each a process of its own.
 *
 *   root namespace   control plane ── bridge ar-<fleet> ── simulated GitHub, peer (198.51.100.n)
 *   namespaces       ar-<fleet>-h-…: a host with its host-agent and its VMs
 *                    ar-<fleet>-gateway: the gateway, if there is one
 *
 * Everything carries the fleet's name and is found by it again: `close` ends it all and says what
 * was left; a crashed owner's fleet is swept by the next `start`.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import { HostList } from '../api/views.ts';
import { type ApiAddress, callApi, findApi } from '../cli/api-client.ts';
import { listLeftovers } from '../providers/local/leftovers.ts';
import { fleetDir } from '../providers/local/local-names.ts';
import { createLocalNetwork, type LocalNetwork } from '../providers/local/local-network.ts';
import { ownEphemeralFleet } from '../providers/local/owner.ts';
import { type ReclaimedHost, reclaimHost } from '../providers/local/reclaim.ts';
import { destroyFleet, sweepDeadFleets } from '../providers/local/sweep.ts';
import { type Child, ChildError, startChild, untilReady } from './child.ts';
import { lastWord, type PeerWord } from './peer-word.ts';
import { createGatewayMachine, startGateway } from './simulated-gateway.ts';
import { SimulatedGithub } from './simulated-github.ts';

const ROOT = join(import.meta.dirname, '../..');
const APP_ID = 4711;
const WEBHOOK_PORT = 3000;
const GITHUB_PORT = 8080;
const PEER_PORT = 9000;

export interface SimulatedFleetOptions {
  readonly name: string;
  readonly hosts: number;
  readonly hostSize?: string;
  /** VMs' connections go out through a gateway, and live on when they move. */
  readonly gateway?: boolean;
  /** The gateway's, for guests' IPv6. */
  readonly prefix6?: string;
  /** More settings of the control plane's environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** More arguments of the simulated GitHub. */
  readonly githubArgs?: readonly string[];
  readonly progress: (what: string) => void;
  readonly signal: AbortSignal;
}

export class SimulatedFleet {
  readonly name: string;
  readonly dir: string;
  readonly network: LocalNetwork;
  readonly api: ApiAddress;
  readonly peer: { readonly host: string; readonly port: number };
  readonly #options: SimulatedFleetOptions;
  readonly #children: Child[] = [];
  readonly #controlToken = randomBytes(24).toString('hex');
  readonly #closing = new AbortController();
  readonly #reclaimed: Promise<void>[] = [];
  #github: SimulatedGithub | undefined;
  #controlPlane: Child | undefined;
  #gateway: Child | undefined;

  private constructor(options: SimulatedFleetOptions, dir: string, network: LocalNetwork) {
    this.#options = options;
    this.name = options.name;
    this.dir = dir;
    this.network = network;
    this.peer = { host: network.outsideAddress ?? '', port: PEER_PORT };
    this.api = findApi({ ARCHITECT_FLEET: options.name, ARCHITECT_HOME: homeDir() });
  }

  /** Resolves when every host is admitted. On failure and on abort nothing is left running. */
  static async start(options: SimulatedFleetOptions): Promise<SimulatedFleet> {
    const { name, progress } = options;
    const home = homeDir();
    for (const { fleet } of await sweepDeadFleets(home))
      progress(`removed what ${fleet} left behind`);
    await ownEphemeralFleet({ home, fleet: name });
    const dir = fleetDir(home, name);
    try {
      const network = await createLocalNetwork({ fleet: name, uplink: false, outside: true });
      const fleet = new SimulatedFleet(options, dir, network);
      await fleet.#open();
      return fleet;
    } catch (error) {
      await destroyFleet({ home, fleet: name });
      throw error;
    }
  }

  get github(): SimulatedGithub {
    if (this.#github === undefined) throw new Error('the simulated GitHub is not up yet');
    return this.#github;
  }

  get controlPlane(): Child {
    if (this.#controlPlane === undefined) throw new Error('the control plane is not up yet');
    return this.#controlPlane;
  }

  /** Starts the control plane, or starts it again after it was killed; resolves when it is ready. */
  async startControlPlane(): Promise<void> {
    const child = startChild({
      name: 'The control plane',
      args: [join(ROOT, 'app/cli/architect.ts'), 'start'],
      environment: this.controlPlaneEnvironment(),
      logPath: join(this.dir, 'control-plane.log'),
    });
    this.#controlPlane = child;
    this.#children.push(child);
    await untilReady(child, () => this.#readyHosts(), this.#options.signal);
  }

  get gateway(): Child {
    if (this.#gateway === undefined) throw new Error('this fleet has no gateway');
    return this.#gateway;
  }

  /** Starts the gateway's agent, or starts it again after it was killed; resolves when it is connected. */
  async startGateway(): Promise<void> {
    const child = await startGateway(this.#gatewayFacts());
    this.#gateway = child;
    this.#children.push(child);
  }

  /**
   * Takes a host back as a spot cloud does; resolves when the notice is given. Closing the fleet
   * before the deadline comes first.
   */
  async reclaim(hostId: HostId, noticeMs: number): Promise<ReclaimedHost> {
    const { hosts } = await callApi(this.api, { method: 'GET', path: '/hosts', answer: HostList });
    const host = hosts.find(({ id }) => id === hostId);
    if (host === undefined) throw new ChildError(`There is no host ${hostId} to take back.`);
    const reclaimed = await reclaimHost({
      at: { home: homeDir(), fleet: this.name },
      machineId: host.hostname,
      noticeMs,
      signal: this.#closing.signal,
    });
    this.#reclaimed.push(reclaimed.ended);
    return reclaimed;
  }

  /** Ends everything of this fleet; gives the names of what is left, which should be nothing. */
  async close(): Promise<readonly string[]> {
    const home = homeDir();
    this.#closing.abort();
    await Promise.allSettled(this.#reclaimed);
    for (const child of this.#children.reverse()) await child.stop();
    await destroyFleet({ home, fleet: this.name });
    return await listLeftovers({ home, fleet: this.name });
  }

  async #open(): Promise<void> {
    const { progress } = this.#options;
    await this.#writeSecrets();
    progress('starting a simulated GitHub and a server outside the fleet');
    await this.#startOutside();
    progress(`starting the control plane and ${this.#options.hosts} simulated hosts`);
    await this.startControlPlane();
    if (this.#options.gateway !== true) return;
    progress('starting a gateway');
    await createGatewayMachine(this.#gatewayFacts());
    await this.startGateway();
  }

  #gatewayFacts() {
    const { network, api, dir } = this;
    const { prefix6, signal } = this.#options;
    return { network, api, dir, prefix6, signal };
  }

  async #writeSecrets(): Promise<void> {
    await mkdir(this.#path('secrets'), { mode: 0o700, recursive: true });
    const { privateKey, publicKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const files = {
      'app-private-key.pem': privateKey,
      'app-public-key.pem': publicKey,
      'webhook-secret': randomBytes(32).toString('hex'),
      'control-token': this.#controlToken,
    };
    for (const [name, content] of Object.entries(files)) {
      await writeFile(this.#path('secrets', name), content, { mode: 0o600 });
    }
  }

  async #startOutside(): Promise<void> {
    const { host } = this.peer;
    const github = this.#startOutsider('The simulated GitHub', 'github', [
      join(ROOT, 'test/fakes/github/main.ts'),
      ...['--listen', `${host}:${GITHUB_PORT}`],
      ...['--app-id', String(APP_ID)],
      ...['--app-public-key', this.#path('secrets', 'app-public-key.pem')],
      ...[
        '--webhook-url',
        `http://${this.network.bridgeAddress}:${WEBHOOK_PORT}/api/github/webhooks`,
      ],
      ...['--webhook-secret-file', this.#path('secrets', 'webhook-secret')],
      ...['--control-token-file', this.#path('secrets', 'control-token')],
      ...(this.#options.githubArgs ?? []),
    ]);
    const peer = this.#startOutsider('The server outside', 'peer', [
      join(ROOT, 'app/demo/peer.ts'),
      host,
      String(PEER_PORT),
    ]);
    await Promise.all([github, peer]);
    this.#github = new SimulatedGithub({
      url: `http://${host}:${GITHUB_PORT}`,
      controlToken: this.#controlToken,
    });
  }

  /** What the server outside has seen of the fleet's jobs. */
  async readPeer(): Promise<PeerWord> {
    return lastWord(await readFile(this.#path('peer.log'), 'utf8'));
  }

  async #startOutsider(name: string, logName: string, args: readonly string[]): Promise<void> {
    const logPath = join(this.dir, `${logName}.log`);
    const environment = { ARCHITECT_FLEET: this.name };
    const child = startChild({ name, args, environment, logPath });
    this.#children.push(child);
    const look = async () => ((await readFile(logPath, 'utf8')).includes('{') ? true : undefined);
    await untilReady(child, look, this.#options.signal);
  }

  /** What the control plane is started with, and the commands that read its settings. */
  controlPlaneEnvironment(): Record<string, string> {
    const { hosts, hostSize = '4cpu-8gb', environment } = this.#options;
    const { bridgeAddress, agentPort, outsideAddress } = this.network;
    return {
      // An empty file: this machine's own settings are not the demo's.
      ARCHITECT_CONFIG: '/dev/null',
      ARCHITECT_FLEET: this.name,
      ARCHITECT_HOME: homeDir(),
      ARCHITECT_LISTEN: `${bridgeAddress}:${WEBHOOK_PORT}`,
      ARCHITECT_AGENTS_LISTEN: `${bridgeAddress}:${agentPort}`,
      ARCHITECT_AGENTS_URL: `https://${bridgeAddress}:${agentPort}`,
      ARCHITECT_IMAGE_PROFILE: 'small',
      ARCHITECT_PROVIDER: 'local',
      ARCHITECT_LOCAL_HOSTS: String(hosts),
      ARCHITECT_LOCAL_HOST_SIZE: hostSize,
      ARCHITECT_LOCAL_UPLINK: 'false',
      ARCHITECT_LOCAL_OUTSIDE: 'true',
      GITHUB_API_URL: `http://${outsideAddress}:${GITHUB_PORT}`,
      GITHUB_APP_ID: String(APP_ID),
      GITHUB_PRIVATE_KEY_FILE: this.#path('secrets', 'app-private-key.pem'),
      GITHUB_WEBHOOK_SECRET_FILE: this.#path('secrets', 'webhook-secret'),
      ...environment,
    };
  }

  /** True when every host is admitted and has the template. */
  async #readyHosts(): Promise<true | undefined> {
    try {
      const { hosts } = await callApi(this.api, {
        method: 'GET',
        path: '/hosts',
        answer: HostList,
      });
      const ready = hosts.filter((host) => host.state === 'connected');
      return ready.length >= this.#options.hosts ? true : undefined;
    } catch {
      return undefined;
    }
  }

  #path(...parts: readonly string[]): string {
    return join(this.dir, ...parts);
  }
}

const Home = z.string().startsWith('/').default('/var/lib/architect');

function homeDir(): string {
  return Home.parse(process.env.ARCHITECT_HOME);
}
