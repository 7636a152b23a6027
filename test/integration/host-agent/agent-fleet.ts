/** A control plane's agent endpoint, a store with one pool in it, and agents as child processes. */
import { readFileSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { pino } from 'pino';
import { type AgentEndpoint, startAgentEndpoint } from '../../../app/agents/agent-endpoint.ts';
import { openCertificateAuthority } from '../../../app/agents/certificate-authority.ts';
import { EnrolmentStore } from '../../../app/agents/enrolment.ts';
import { AgentFleet } from '../../../app/agents/fleet.ts';
import { UnderlayDesk } from '../../../app/agents/underlay-desk.ts';
import type { FleetHost } from '../../../app/reconciler/ports.ts';
import {
  type ArtifactDescription,
  createStagingFolder,
  publishArtifact,
} from '../../../host-agent/artifacts/artifact-store.ts';
import { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import { HostId, type VmId } from '../../../host-agent/protocol/ids.ts';
import type { AgentRequest } from '../../../host-agent/protocol/messages.ts';
import type { StoreSpec } from '../../../host-agent/protocol/store-spec.ts';
import type { VmReport } from '../../../host-agent/protocol/vm-report.ts';
import { makeDiskFolder } from '../../fixtures/disk-folder.ts';

const WAIT_LIMIT_MS = 60_000;
const POLL_MS = 20;
const FLEET = 'agenttest';
const AGENT_PATH = new URL('./agent-process.ts', import.meta.url).pathname;
const REAL_AGENT_PATH = new URL('../../../host-agent/main.ts', import.meta.url).pathname;
const logger = pino({ level: 'silent' });

/** Polls until the value is there; what was awaited goes into the error. */
export async function until<T>(what: string, look: () => T | undefined | Promise<T | undefined>) {
  const limit = Date.now() + WAIT_LIMIT_MS;
  while (Date.now() < limit) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    await sleep(POLL_MS);
  }
  throw new Error(`Waited ${WAIT_LIMIT_MS} ms in vain for: ${what}`);
}

function spawnAgent(command: readonly string[], env: Record<string, string>) {
  const [file = process.execPath, ...args] = command;
  return execa(file, args, { env, reject: false, cleanup: true });
}
export type AgentChild = ReturnType<typeof spawnAgent>;

export interface Place {
  /** Where the control plane listens. */
  readonly address: string;
  readonly agentNetns?: string;
  /** An existing pool instead of a made-up one. */
  readonly pool?: PoolSpec;
  readonly store?: StoreSpec;
}

export class TestFleet {
  readonly dir: string;
  readonly pool: PoolSpec;
  readonly #enrolment: EnrolmentStore;
  readonly #pids = new Set<number>();
  readonly #children = new Set<AgentChild>();
  fleet: AgentFleet;
  #endpoint: AgentEndpoint | undefined;
  #port = 0;

  readonly #place: Place;

  private constructor(parts: {
    readonly dir: string;
    readonly pool: PoolSpec;
    readonly enrolment: EnrolmentStore;
    readonly place: Place;
  }) {
    this.dir = parts.dir;
    this.pool = parts.pool;
    this.#enrolment = parts.enrolment;
    this.#place = parts.place;
    this.fleet = this.#newFleet();
  }

  /** With an `agentNetns` its agents are real ones, in that namespace. */
  static async open(place: Place = { address: '127.0.0.1' }): Promise<TestFleet> {
    const dir = await makeDiskFolder('agent-fleet');
    await chmod(dir, 0o711);
    const pool = place.pool ?? (await publishPool(join(dir, 'published')));
    const port = await freePort();
    const authority = await openCertificateAuthority(join(dir, 'ca'), Date.now());
    const enrolment = new EnrolmentStore(join(dir, 'enrolment.sqlite'), {
      url: `https://${place.address}:${port}`,
      caSha256: authority.sha256,
    });
    const fleet = new TestFleet({ dir, pool, enrolment, place });
    fleet.#port = port;
    await fleet.listen();
    return fleet;
  }

  async listen(): Promise<void> {
    this.fleet = this.#newFleet();
    this.#endpoint = await startAgentEndpoint({
      listen: { host: this.#place.address, port: this.#port },
      names: [this.#place.address],
      authority: await openCertificateAuthority(join(this.dir, 'ca'), Date.now()),
      enrolment: this.#enrolment,
      fleet: this.fleet,
      gateways: { attach: (_, socket) => socket.close() },
      underlay: new UnderlayDesk({
        policy: { kind: 'private' },
        book: { nodes: () => [], put: () => undefined, remove: () => undefined },
        enrolment: this.#enrolment,
        now: Date.now,
      }),
      artifactsDir: join(this.dir, 'published'),
      isLeader: () => true,
      now: Date.now,
      logger,
    });
  }

  /** The control plane goes away without a word. */
  async vanish(): Promise<void> {
    this.fleet.close();
    await this.#endpoint?.close();
    this.#endpoint = undefined;
  }

  issueToken(): string {
    return this.#enrolment.issueEnrolmentToken({ ttlMs: 60_000, nowMs: Date.now() });
  }

  agentDir(name: string): string {
    return join(this.dir, name);
  }

  async writeToken(name: string, token: string): Promise<string> {
    await mkdir(this.agentDir(name), { recursive: true });
    const path = join(this.agentDir(name), 'token');
    await writeFile(path, token, { mode: 0o600 });
    return path;
  }

  /** In `netns`, or in the fleet's own. */
  startAgent(name: string, extra: Record<string, string> = {}, netns?: string): AgentChild {
    const child = this.#spawn(netns ?? this.#place.agentNetns, {
      ARCHITECT_AGENT_DIR: this.agentDir(name),
      ARCHITECT_ARTIFACTS: join(this.agentDir(name), 'artifacts'),
      ARCHITECT_AGENT_CAPACITY: '4cpu-4gb',
      // Nothing outside this test is to be asked.
      ARCHITECT_NOTICES: 'off',
      ARCHITECT_FLEET: FLEET,
      ...extra,
    });
    this.#children.add(child);
    return child;
  }

  #spawn(agentNetns: string | undefined, env: Record<string, string>): AgentChild {
    if (agentNetns === undefined) return spawnAgent([process.execPath, AGENT_PATH], env);
    const enter = ['nsenter', `--net=/run/netns/${agentNetns}`];
    return spawnAgent([...enter, process.execPath, REAL_AGENT_PATH], env);
  }

  /** The one host of the fleet, once it is connected and has reported what is asked for. */
  async host(ready: (host: FleetHost) => boolean = () => true): Promise<FleetHost> {
    return until('a connected host', () =>
      this.fleet.hosts().find((host) => host.state === 'connected' && ready(host)),
    );
  }

  async vm(vmId: VmId, ready: (vm: VmReport) => boolean): Promise<VmReport> {
    return until(`VM ${vmId}`, () => {
      const hosts = this.fleet.hosts().filter(({ state }) => state === 'connected');
      const vms = hosts.flatMap(({ report }) => report?.vms ?? []);
      for (const { qemuPid } of vms) if (qemuPid !== null) this.#pids.add(qemuPid);
      return vms.find((vm) => vm.vmId === vmId && ready(vm));
    });
  }

  async request(host: FleetHost, request: AgentRequest) {
    return this.fleet.request(HostId.parse(host.id), request);
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(this.#children);
    for (const pid of this.#pids) killVm(pid);
    for (const pid of await findVms(this.dir)) killVm(pid);
    await this.vanish();
    this.#enrolment.close();
    await rm(this.dir, { recursive: true, force: true });
  }

  #newFleet(): AgentFleet {
    return new AgentFleet({
      enrolment: this.#enrolment,
      pool: () => this.pool,
      store: this.#place.store,
      now: Date.now,
      logger,
    });
  }
}

/** Also what no report told of: a VM that was arriving, or whose agent was killed. */
async function findVms(dir: string): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger);
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return pids.filter((_, at) => lines[at]?.includes(`${dir}/`));
}

/** Only what is of this fleet: the kernel gives a dead VM's pid to others. */
function killVm(pid: number): void {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    if (environment.includes(`ARCHITECT_FLEET=${FLEET}`)) process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function publishPool(storeDir: string): Promise<PoolSpec> {
  const publish = async (description: ArtifactDescription, file: string) => {
    const stagingDir = await createStagingFolder(storeDir);
    await writeFile(join(stagingDir, file), `content of ${file}`);
    return publishArtifact({ storeDir, stagingDir, description });
  };
  const image = await publish(
    { kind: 'image', profile: 'small', arch: 'x64', guestKernel: '6.12', kernelArguments: '' },
    'disk.raw',
  );
  const machine = { machineType: 'pc-q35-8.2', accelerator: 'tcg', cpuModel: 'qemu64' } as const;
  const sizes = { vcpus: 1, maxVcpus: 8, memoryMib: 256, maxMemoryMib: 8192, memorySlots: 16 };
  const shape = { ...machine, ...sizes };
  const template = await publish(
    { kind: 'template', image, shape, qemuVersion: '10.0.2' },
    'memory',
  );
  return PoolSpec.parse({
    id: 'small-x64-tcg-qemu64',
    arch: 'x64',
    ...machine,
    cpuVendor: null,
    image,
    template,
  });
}
