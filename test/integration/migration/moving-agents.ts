/** Real agents in namespaces of their own, told by hand what a control plane would tell them. */
import { randomBytes, randomUUID } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import type { FleetHost } from '../../../app/reconciler/ports.ts';
import type { SwitchoverStep } from '../../../host-agent/migration/switchover-trace.ts';
import { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import { MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import type { AgentRequest } from '../../../host-agent/protocol/messages.ts';
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
const HOLD_STEP = new URL('./hold-step.ts', import.meta.url).pathname;
const JUMPING_CLOCK = new URL('./jumping-clock.ts', import.meta.url).pathname;
const MOVE_LIMIT_MS = 60_000;
const KEPT_LINES = 60;

export interface Way {
  readonly from: string;
  readonly to: string;
  /** Wall clock; else it is far enough away. */
  readonly deadlineMs?: number;
  /** Else it is not slowed down. */
  readonly cpuShare?: number;
  /** Between the target's consent and the source's beginning. */
  readonly dial?: () => Promise<void>;
  /** Where the source dials instead of the target's own port. */
  readonly through?: (peer: PeerEndpoint) => Promise<PeerEndpoint>;
}

export interface Setting {
  /** Named by the control plane; made when the hosts' network is there, on this address of it. */
  readonly store?: (address: string) => Promise<StoreSpec>;
  /** Else the one that set-up prepared. */
  readonly pool?: PoolSpec;
  readonly artifactsDir?: string;
  /** Each agent's wall clock may be set (`setClock`). */
  readonly jumpingClocks?: boolean;
  /** Before any agent starts. */
  readonly prepare?: (control: TestFleet) => Promise<void>;
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
  readonly #preloads: readonly string[];
  readonly #agents = new Map<string, AgentChild>();
  readonly #epochs = new Map<VmId, number>();
  readonly #keys = new Map<VmId, VmKey>();
  /** What each agent said last, for a test that failed. */
  readonly #said = new Map<string, string[]>();

  private constructor(control: TestFleet, setting: Setting) {
    this.control = control;
    this.#artifactsDir = setting.artifactsDir ?? `${HOME}/artifacts`;
    this.#preloads = [HOLD_STEP, ...(setting.jumpingClocks === true ? [JUMPING_CLOCK] : [])];
  }

  /** Each name is a host; resolves when all of them have the template. */
  static async start(names: readonly string[], setting: Setting = {}): Promise<MovingAgents> {
    await removeNetwork();
    await makeNetwork(names);
    const store = await setting.store?.(ADDRESS);
    const place = { address: ADDRESS, pool: setting.pool ?? readPool() };
    const control = await TestFleet.open({ ...place, ...(store === undefined ? {} : { store }) });
    const agents = new MovingAgents(control, setting);
    try {
      await setting.prepare?.(control);
      for (const name of names) await agents.enrol(name);
      for (const name of names) await agents.host(name);
      return agents;
    } catch (error) {
      await agents[Symbol.asyncDispose]();
      throw error;
    }
  }

  async enrol(name: string): Promise<void> {
    const tokenFile = await this.control.writeToken(name, this.control.issueToken());
    this.startAgent(name, { ARCHITECT_AGENT_TOKEN_FILE: tokenFile });
  }

  startAgent(name: string, extra: Record<string, string> = {}): void {
    const env = {
      ...{ ARCHITECT_ARTIFACTS: this.#artifactsDir, ARCHITECT_AGENT_NAME: name },
      NODE_OPTIONS: this.#preloads.map((path) => `--import=${path}`).join(' '),
      ...{ ARCHITECT_TEST_HOLD: this.#holdFile(name), ARCHITECT_TEST_CLOCK: this.#clockFile(name) },
      ...extra,
    };
    const agent = this.control.startAgent(name, env, netnsOf(name));
    this.#agents.set(name, agent);
    const said = this.#said.get(name) ?? [];
    this.#said.set(name, said);
    for (const output of [agent.stdout, agent.stderr]) {
      output?.on('data', (piece: Buffer) => {
        said.push(...piece.toString('utf8').split('\n').filter(Boolean));
        said.splice(0, said.length - KEPT_LINES);
      });
    }
  }

  agentPid(name: string): number {
    const pid = this.#agents.get(name)?.pid;
    if (pid === undefined) throw new Error(`host ${name} has no agent`);
    return pid;
  }

  /** Its agent stands still at the next such step of a move, once. */
  async holdAt(name: string, step: SwitchoverStep): Promise<void> {
    await writeFile(this.#holdFile(name), step);
  }

  /** Resolves with the agent's pid when it stands there. */
  async whenHeld(name: string): Promise<number> {
    const pid = this.agentPid(name);
    return await this.#until(`${name} to stand still`, () => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T') ? pid : undefined;
    });
  }

  /** Its agent's wall clock is off by so much, from now on. */
  async setClock(name: string, offsetMs: number): Promise<void> {
    await writeFile(this.#clockFile(name), String(offsetMs));
  }

  #clockFile(name: string): string {
    return join(this.control.dir, `clock-${name}`);
  }

  #holdFile(name: string): string {
    return join(this.control.dir, `hold-${name}`);
  }

  said(name: string): readonly string[] {
    return this.#said.get(name) ?? [];
  }

  async request(name: string, request: AgentRequest) {
    return await this.control.request(await this.host(name), request);
  }

  /** As a crash: its VMs run on. */
  async killAgent(name: string): Promise<void> {
    const agent = this.#agents.get(name);
    agent?.kill('SIGKILL');
    await agent;
    await this.#until(
      `${name} to be away`,
      () => this.hostNow(name)?.state === 'away' || undefined,
    );
  }

  async host(name: string): Promise<FleetHost> {
    const { template } = this.control.pool;
    return await this.#until(`host ${name}`, () => {
      const host = this.hostNow(name);
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
    return await this.#until(`VM ${vmId} on ${name}`, () => {
      const host = this.hostNow(name);
      // What an agent said before it went away is old.
      if (host?.state !== 'connected') return undefined;
      return host.report?.vms.find((vm) => vm.vmId === vmId && ready(vm));
    });
  }

  /** Both are asked; what becomes of it is in `migration`. */
  async beginMove(vmId: VmId, way: Way): Promise<MigrationId> {
    const { from, to, deadlineMs, cpuShare = 1, dial = nothing, through } = way;
    const migrationId = MigrationId.parse(`mig-${randomUUID().slice(0, 8)}`);
    const epoch = (this.#epochs.get(vmId) ?? 1) + 1;
    this.#epochs.set(vmId, epoch);
    const [source, target] = [await this.host(from), await this.host(to)];
    const credential = randomBytes(32).toString('base64');
    const key = this.#keyOf(vmId);
    const move = {
      ...{ migrationId, vmId, epoch, credential },
      deadlineMs: deadlineMs ?? Date.now() + MOVE_LIMIT_MS,
    };
    const { pool } = this.control;
    const received = await this.control.request(target, {
      ...{ ...move, kind: 'receive-vm', from: source.id, class: CLASS, pool, key },
      assignedJob: null,
    });
    if (received.kind === 'refused') throw new Error(received.why);
    if (received.peer === undefined) throw new Error('the target named no port');
    await dial();
    const peer = (await through?.(received.peer)) ?? received.peer;
    const sent = await this.control.request(source, {
      ...{ ...move, kind: 'send-vm', to: target.id, peer, cpuShare },
    });
    if (sent.kind === 'refused') {
      const { why } = sent;
      await this.control.request(target, { kind: 'abort-migration', vmId, migrationId, why });
      throw new Error(why);
    }
    return migrationId;
  }

  async migration(
    name: string,
    migrationId: MigrationId,
    ready: (report: MigrationReport) => boolean,
  ): Promise<MigrationReport> {
    const find = () => {
      const all = this.hostNow(name)?.report?.migrations ?? [];
      return all.find((one) => one.migrationId === migrationId);
    };
    return await this.#until(`migration ${migrationId} on ${name}`, () => {
      const found = find();
      return found !== undefined && ready(found) ? found : undefined;
    });
  }

  async move(vmId: VmId, way: Way): Promise<Move> {
    const migrationId = await this.beginMove(vmId, way);
    const isOver = ({ phase }: MigrationReport) => phase === 'done' || phase === 'aborted';
    const source = await this.migration(way.from, migrationId, isOver);
    const target = await this.migration(way.to, migrationId, isOver);
    if (source.phase !== 'done') {
      throw new Error(`the move was given up: ${source.why}; by the target: ${target.why}`);
    }
    return { source, target };
  }

  /** Somebody reports that it is over, and why. */
  async expectEnd(vmId: VmId): Promise<void> {
    const names = [...this.#agents.keys()];
    const found = await this.#until(`a report of the end of ${vmId}`, () => {
      const isIt = (vm: VmReport) => vm.vmId === vmId && vm.phase === 'failed' && vm.why !== null;
      return names.find((name) => this.hostNow(name)?.report?.vms.some(isIt));
    });
    await this.stopVm(found, vmId);
  }

  /** It can still be moved, whatever happened to it. */
  async moveOnAndStop(vmId: VmId, from: string): Promise<void> {
    const to = [...this.#agents.keys()].find((name) => name !== from) ?? from;
    await this.vm(from, vmId, ({ tracking }) => tracking !== undefined);
    await this.move(vmId, { from, to });
    await this.stopVm(to, vmId);
  }

  async stopVm(name: string, vmId: VmId): Promise<void> {
    await this.request(name, { kind: 'stop-vm', vmId, why: 'the test is over' });
    await this.vm(name, vmId, ({ phase }) => phase === 'stopped' || phase === 'failed');
    await this.request(name, { kind: 'forget-vm', vmId });
  }

  /** What the agents said last goes into the error. */
  async #until<T>(what: string, look: () => T | undefined) {
    try {
      return await until(what, look);
    } catch (error) {
      const said = [...this.#said].map(
        ([name, lines]) => `${name}:\n  ${lines.slice(-20).join('\n  ')}`,
      );
      throw new Error(`${String(error)}\n${said.join('\n')}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#agents.keys()) this.#agents.get(name)?.kill('SIGKILL');
    for (const dir of [...this.#agents.keys()].map((name) => this.control.agentDir(name))) {
      await execa('umount', ['--lazy', dir], { reject: false });
    }
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

  hostNow(name: string): FleetHost | undefined {
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

async function nothing(): Promise<void> {}
