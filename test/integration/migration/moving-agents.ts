/** Real agents in namespaces of their own, told by hand what a control plane would tell them. */
import { randomBytes, randomUUID } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { execa } from 'execa';
import type { FleetHost } from '../../../app/reconciler/ports.ts';
import { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import { MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import type {
  MigrationReport,
  PeerEndpoint,
  VmKey,
} from '../../../host-agent/protocol/migration-messages.ts';
import type { StoreSpec } from '../../../host-agent/protocol/store-spec.ts';
import type { VmReport } from '../../../host-agent/protocol/vm-report.ts';
import { type AgentChild, TestFleet, until } from '../host-agent/agent-fleet.ts';

const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
const BRIDGE = 'ar-agenttest';
const ADDRESS = '100.64.251.1';
const CLASS = { vcpus: 1, memoryMib: 1024, diskGib: 4, arch: 'x64' } as const;
const MOVE_LIMIT_MS = 60_000;

export interface Setting {
  /** Named by the control plane; made when the hosts' network is there, on this address of it. */
  readonly store?: (address: string) => Promise<StoreSpec>;
  /** Else the one that set-up prepared. */
  readonly pool?: PoolSpec;
  readonly artifactsDir?: string;
}

export interface Way {
  readonly from: string;
  readonly to: string;
  /** Where the source dials instead of the target's own port. */
  readonly through?: (peer: PeerEndpoint) => Promise<PeerEndpoint>;
}

export interface Move {
  readonly source: MigrationReport;
  readonly target: MigrationReport;
}

export class MovingAgents implements AsyncDisposable {
  readonly control: TestFleet;
  /** Of this process on the hosts' network. */
  readonly address = ADDRESS;
  readonly #artifactsDir: string;
  readonly #agents = new Map<string, AgentChild>();
  readonly #epochs = new Map<VmId, number>();
  readonly #keys = new Map<VmId, VmKey>();

  private constructor(control: TestFleet, { artifactsDir = `${HOME}/artifacts` }: Setting) {
    this.control = control;
    this.#artifactsDir = artifactsDir;
  }

  /** Each name is a host; resolves when all of them have the template. */
  static async start(names: readonly string[], setting: Setting = {}): Promise<MovingAgents> {
    await removeNetwork();
    await makeNetwork(names);
    const store = await setting.store?.(ADDRESS);
    const place = { address: ADDRESS, pool: setting.pool ?? readPool() };
    const control = await TestFleet.open({ ...place, ...(store === undefined ? {} : { store }) });
    const agents = new MovingAgents(control, setting);
    for (const name of names) await agents.enrol(name);
    for (const name of names) await agents.host(name);
    return agents;
  }

  async enrol(name: string): Promise<void> {
    const tokenFile = await this.control.writeToken(name, this.control.issueToken());
    this.startAgent(name, { ARCHITECT_AGENT_TOKEN_FILE: tokenFile });
  }

  startAgent(name: string, extra: Record<string, string> = {}): void {
    const env = { ARCHITECT_ARTIFACTS: this.#artifactsDir, ARCHITECT_AGENT_NAME: name, ...extra };
    this.#agents.set(name, this.control.startAgent(name, env, netnsOf(name)));
  }

  /** As a crash: its VMs run on. */
  async killAgent(name: string): Promise<void> {
    const agent = this.#agents.get(name);
    agent?.kill('SIGKILL');
    await agent;
    await until(`${name} to be away`, () => this.#find(name)?.state === 'away' || undefined);
  }

  async host(name: string): Promise<FleetHost> {
    const { template } = this.control.pool;
    return await until(`host ${name}`, () => {
      const host = this.#find(name);
      const isReady = host?.state === 'connected' && host.report?.artifacts.includes(template);
      return isReady === true ? host : undefined;
    });
  }

  /** A VM that is tracked and may move. */
  async startVm(name: string): Promise<VmId> {
    const vmId = VmId.parse(`vm-${randomBytes(4).toString('hex')}`);
    const { pool } = this.control;
    const key = this.#keyOf(vmId);
    const start = { kind: 'start-vm', vmId, class: CLASS, pool, key } as const;
    const outcome = await this.control.request(await this.host(name), start);
    if (outcome.kind === 'refused') throw new Error(outcome.why);
    this.#epochs.set(vmId, 1);
    await this.vm(name, vmId, ({ tracking }) => tracking !== undefined);
    return vmId;
  }

  async vm(name: string, vmId: VmId, ready: (vm: VmReport) => boolean): Promise<VmReport> {
    return await until(`VM ${vmId} on ${name}`, () => {
      const host = this.#find(name);
      // What an agent said before it went away is old.
      if (host?.state !== 'connected') return undefined;
      return host.report?.vms.find((vm) => vm.vmId === vmId && ready(vm));
    });
  }

  /** Both are asked; what becomes of it is in `migration`. */
  async beginMove(vmId: VmId, { from, to, through }: Way): Promise<MigrationId> {
    const migrationId = MigrationId.parse(`mig-${randomUUID().slice(0, 8)}`);
    const epoch = (this.#epochs.get(vmId) ?? 1) + 1;
    this.#epochs.set(vmId, epoch);
    const [source, target] = [await this.host(from), await this.host(to)];
    const credential = randomBytes(32).toString('base64');
    const key = this.#keyOf(vmId);
    const deadlineMs = Date.now() + MOVE_LIMIT_MS;
    const move = { migrationId, vmId, epoch, credential, deadlineMs };
    const { pool } = this.control;
    const received = await this.control.request(target, {
      ...{ ...move, kind: 'receive-vm', from: source.id, class: CLASS, pool, key },
      assignedJob: null,
    });
    if (received.kind === 'refused') throw new Error(received.why);
    if (received.peer === undefined) throw new Error('the target named no port');
    const peer = (await through?.(received.peer)) ?? received.peer;
    const sent = await this.control.request(source, {
      ...{ ...move, kind: 'send-vm', to: target.id, peer, cpuShare: 1 },
    });
    if (sent.kind === 'refused') throw new Error(sent.why);
    return migrationId;
  }

  async migration(
    name: string,
    migrationId: MigrationId,
    ready: (report: MigrationReport) => boolean,
  ): Promise<MigrationReport> {
    return await until(`migration ${migrationId} on ${name}`, () => {
      const host = this.#find(name);
      const all = host?.report?.migrations ?? [];
      return all.find((one) => one.migrationId === migrationId && ready(one));
    });
  }

  async move(vmId: VmId, way: Way): Promise<Move> {
    const migrationId = await this.beginMove(vmId, way);
    const isOver = ({ phase }: MigrationReport) => phase === 'done' || phase === 'aborted';
    const source = await this.migration(way.from, migrationId, isOver);
    if (source.phase !== 'done') throw new Error(`the move was given up: ${source.why}`);
    return { source, target: await this.migration(way.to, migrationId, isOver) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.control.close();
    await removeNetwork();
  }

  /** Of one VM always the same: what is in a store stays readable. */
  #keyOf(vmId: VmId): VmKey {
    const known = this.#keys.get(vmId);
    const key = known ?? { plain: randomBytes(32).toString('base64'), wrapped: '' };
    this.#keys.set(vmId, key);
    return key;
  }

  #find(name: string): FleetHost | undefined {
    return this.control.fleet.hosts().find((host) => host.hostname === name);
  }
}

function readPool(): PoolSpec {
  const [path] = globSync(`${HOME}/artifacts/pools/small-*-tcg-qemu64.json`);
  if (path === undefined) throw new Error('No prepared pool: run "npm run setup" first.');
  return PoolSpec.parse(JSON.parse(readFileSync(path, 'utf8')));
}

export function netnsOf(name: string): string {
  return `ar-agenttest-${name}`;
}

async function makeNetwork(names: readonly string[]): Promise<void> {
  await execa('ip', ['link', 'add', BRIDGE, 'type', 'bridge']);
  await execa('ip', ['addr', 'add', `${ADDRESS}/24`, 'dev', BRIDGE]);
  await execa('ip', ['link', 'set', BRIDGE, 'up']);
  for (const [index, name] of names.entries()) {
    const netns = netnsOf(name);
    const link = `${BRIDGE}${index}`;
    await execa('ip', ['netns', 'add', netns]);
    const peer = ['peer', 'name', 'eth0', 'netns', netns];
    await execa('ip', ['link', 'add', link, 'type', 'veth', ...peer]);
    await execa('ip', ['link', 'set', link, 'master', BRIDGE, 'up']);
    const inside = ['-n', netns];
    await execa('ip', [...inside, 'addr', 'add', `100.64.251.${10 + index}/24`, 'dev', 'eth0']);
    await execa('ip', [...inside, 'link', 'set', 'eth0', 'up']);
    await execa('ip', [...inside, 'link', 'set', 'lo', 'up']);
  }
}

/**
 * Namespaces of VMs too: their names begin like those of the hosts. The links go by themselves
 * only when nothing of a namespace runs any more, so they are removed first.
 */
async function removeNetwork(): Promise<void> {
  for (const path of globSync(`/sys/class/net/${BRIDGE}*`)) {
    await execa('ip', ['link', 'del', basename(path)], { reject: false });
  }
  for (const path of globSync('/run/netns/ar-agenttest-*')) {
    await execa('ip', ['netns', 'del', basename(path)], { reject: false });
  }
}
