/**
 * Hosts in this process that share a chunk store and nothing else: each a real supervisor with real
 * QEMUs, told by hand what a control plane would tell it.
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { Agent } from 'undici';
import { expect } from 'vitest';
import { z } from 'zod';
import { ArtifactKeeper } from '../../../host-agent/artifacts/artifact-keeper.ts';
import { JournalStore } from '../../../host-agent/journal/journal-store.ts';
import { KeyRing } from '../../../host-agent/migration/key-ring.ts';
import { type Mobility, TemplateMemories } from '../../../host-agent/migration/mobility.ts';
import { HostId, VmId } from '../../../host-agent/protocol/ids.ts';
import type { AgentOutcome } from '../../../host-agent/protocol/messages.ts';
import type { StoreSpec } from '../../../host-agent/protocol/store-spec.ts';
import type { VmReport } from '../../../host-agent/protocol/vm-report.ts';
import type { Networks } from '../../../host-agent/supervisor/ports.ts';
import { Supervisor } from '../../../host-agent/supervisor/supervisor.ts';
import { adoptVm, startVm } from '../../../host-agent/vm/driver.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import type { VmDriver } from '../../../host-agent/vm/vm-driver.ts';
import { makeDiskFolder } from '../../fixtures/disk-folder.ts';
import { logger, readPool } from '../vm/test-vm.ts';
import { enrolPeers, type PeerHosts } from './peer-hosts.ts';

const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
const WAIT = { timeout: 120_000, interval: 50 };
const RUN_LIMIT_MS = 60_000;
/** Of every VM here. */
export const STORE_VM_CLASS = { vcpus: 1, memoryMib: 512, diskGib: 2, arch: 'x64' } as const;

type Journal = Parameters<JournalStore['write']>[0];

/** An agent that stands still at one of its writes, for good: before it is on disk, or after. */
export class TestJournals extends JournalStore {
  before: (journal: Journal) => boolean = () => false;
  after: (journal: Journal) => boolean = () => false;
  readonly #halted = Promise.withResolvers<void>();

  /** It has come to where it is to stand still. */
  get halted(): Promise<void> {
    return this.#halted.promise;
  }

  override async write(journal: Journal): Promise<void> {
    if (this.before(journal)) await this.#halt();
    await super.write(journal);
    if (this.after(journal)) await this.#halt();
  }

  async #halt(): Promise<never> {
    this.#halted.resolve();
    return await new Promise<never>(() => undefined);
  }
}

export class StoreHost {
  readonly name: string;
  readonly dir: string;
  readonly #world: StoreWorld;
  readonly #drivers = new Map<string, VmDriver>();
  journals: TestJournals;
  supervisor: Supervisor;

  constructor(name: string, world: StoreWorld) {
    this.name = name;
    this.dir = join(world.dir, name);
    this.#world = world;
    this.journals = new TestJournals(this.dir);
    this.supervisor = this.#boot();
  }

  async open(): Promise<void> {
    await mkdir(join(this.dir, 'vms'), { recursive: true });
    await chmod(this.dir, 0o711);
    await chmod(join(this.dir, 'vms'), 0o711);
    await this.#recover();
  }

  /** As after a crash: nothing of the old agent acts any more, and a new one looks at what it left. */
  async restart(): Promise<void> {
    this.journals.before = () => true;
    await this.supervisor.detach();
    this.#drivers.clear();
    this.journals = new TestJournals(this.dir);
    this.supervisor = this.#boot();
    await this.#recover();
  }

  async start(
    vmId = VmId.parse(`vm-${randomBytes(4).toString('hex')}`),
    rewindable = false,
  ): Promise<VmId> {
    const { pool, key } = this.#world;
    const request = {
      kind: 'start-vm',
      vmId,
      class: STORE_VM_CLASS,
      pool,
      key,
      rewindable,
    } as const;
    expect(await this.supervisor.serve(request)).toEqual({ kind: 'taken' });
    await this.vm(vmId, ({ tracking }) => tracking !== undefined);
    return vmId;
  }

  async resume(vmId: VmId, from: 'parked' | 'rewound', epoch: number): Promise<AgentOutcome> {
    const { pool, key } = this.#world;
    const about = { vmId, epoch, class: STORE_VM_CLASS, pool, key, assignedJob: null };
    return await this.supervisor.serve({ kind: 'resume-vm', from, ...about });
  }

  async park(vmId: VmId, epoch: number, limitMs = 60_000): Promise<AgentOutcome> {
    const deadlineMs = Date.now() + limitMs;
    return await this.supervisor.serve({ kind: 'park-vm', vmId, epoch, deadlineMs, why: 'test' });
  }

  report(vmId: VmId): VmReport | undefined {
    return this.supervisor.picture().vms.find((vm) => vm.vmId === vmId);
  }

  async vm(vmId: VmId, ready: (vm: VmReport) => boolean): Promise<VmReport> {
    let found: VmReport | undefined;
    const look = () => {
      found = this.report(vmId);
      return found !== undefined && ready(found);
    };
    await expect.poll(look, { ...WAIT, message: `VM ${vmId} on ${this.name}` }).toBe(true);
    if (found === undefined) throw new Error('unreachable');
    return found;
  }

  /** In a VM that this agent has started or taken over: the guest's port serves its driver alone. */
  async run(vmId: VmId, script: string): Promise<string> {
    const guest = this.#drivers.get(vmId)?.live()?.guest;
    if (guest === undefined) throw new Error(`${this.name} does not drive ${vmId}`);
    const exec = { path: '/bin/bash', args: ['-c', script], timeoutMs: RUN_LIMIT_MS };
    const { exitCode, stdout, stderr } = await guest.exec(exec);
    if (exitCode !== 0) throw new Error(`${stdout} ${stderr}`);
    return stdout.trim();
  }

  /** QEMU's word on its guest: `running`, `paused`, … */
  async status(vmId: VmId): Promise<string | undefined> {
    const qmp = this.#drivers.get(vmId)?.live()?.qmp;
    const answer = z.object({ status: z.string() });
    return (await qmp?.call({ command: 'query-status', answer }))?.status;
  }

  folder(vmId: VmId): string {
    return join(this.dir, 'vms', vmId);
  }

  async close(): Promise<void> {
    for (const { vmId } of this.supervisor.picture().vms) {
      await this.supervisor.serve({ kind: 'stop-vm', vmId, why: 'the test is over' });
    }
    const isOver = () =>
      this.supervisor.picture().vms.every(({ phase }) => phase === 'stopped' || phase === 'failed');
    await expect.poll(isOver, WAIT).toBe(true);
    await this.supervisor.detach();
  }

  async #recover(): Promise<void> {
    await this.#world.artifacts.open();
    await this.supervisor.recover();
    this.supervisor.admit(this.#world.pool);
  }

  #boot(): Supervisor {
    const { fleet, artifacts, store } = this.#world;
    const identity = this.#world.identityOf(this.name);
    const own = (driver: VmDriver | undefined) => {
      if (driver !== undefined) this.#drivers.set(driver.vmId, driver);
      return driver;
    };
    const mobility: Mobility = {
      ...{ identity, store, address: '127.0.0.1', ports: { first: 49_152, last: 49_215 } },
      hostId: HostId.parse(`h-${this.name}`),
      memories: this.#world.memories,
      keys: new KeyRing(`${fleet}-${this.name}`),
    };
    return new Supervisor({
      ...{ fleet: 'test', tag: this.name, vmsDir: join(this.dir, 'vms'), artifacts, mobility },
      capacity: { vcpus: 4, memoryMib: 4096, diskGib: 16 },
      drivers: {
        start: (spec) => {
          const driver = startVm(spec, { logger });
          own(driver);
          return driver;
        },
        adopt: async (vmDir, how) => own(await adoptVm(vmDir, { logger }, how)),
      },
      networks: this.#world.networksOf(this.name),
      journals: this.journals,
      nowMs: Date.now,
      logger,
      onChange: () => undefined,
    });
  }
}

export class StoreWorld implements AsyncDisposable {
  readonly dir: string;
  readonly fleet = `t${randomBytes(3).toString('hex')}`;
  readonly pool = readPool();
  readonly key = { plain: randomBytes(32).toString('base64'), wrapped: 'AAAA' };
  readonly memories = new TemplateMemories();
  readonly artifacts: ArtifactKeeper;
  readonly storeDir: string;
  readonly #peers: PeerHosts;
  readonly #hosts: StoreHost[] = [];
  readonly #netns = new Set<string>();
  readonly #end = new AbortController();

  readonly #store: StoreSpec | undefined;

  private constructor(dir: string, peers: PeerHosts, store: StoreSpec | undefined) {
    this.dir = dir;
    this.#store = store;
    this.storeDir = join(dir, 'store');
    this.#peers = peers;
    this.artifacts = new ArtifactKeeper({
      storeDir: join(HOME, 'artifacts'),
      source: { url: 'https://127.0.0.1:1', dispatcher: new Agent() },
      ...{ logger, nowMs: Date.now, onChange: () => undefined, signal: this.#end.signal },
    });
  }

  /** Its store is `storeDir`, or the given one. */
  static async open(store?: StoreSpec): Promise<StoreWorld> {
    const dir = await makeDiskFolder('store-hosts');
    await chmod(dir, 0o711);
    return new StoreWorld(dir, await enrolPeers(), store);
  }

  readonly store = (): StoreSpec => this.#store ?? { kind: 'folder', path: this.storeDir };

  async host(name: string): Promise<StoreHost> {
    const host = new StoreHost(name, this);
    this.#hosts.push(host);
    await host.open();
    return host;
  }

  /** For a move by wire: hosts named `source` and `target` know each other by their certificates. */
  identityOf(host: string): PeerHosts['source'] {
    return host === 'target' ? this.#peers.target : this.#peers.source;
  }

  networksOf(host: string): Networks {
    const nameOf = (vmId: string) =>
      `ar-${this.fleet}-${createHash('sha256').update(`${host} ${vmId}`).digest('hex').slice(0, 8)}`;
    return {
      ensure: async (vmId, { guestAddress = '10.99.0.2' } = {}) => {
        const netns = nameOf(vmId);
        if (!this.#netns.has(netns)) await this.#makeNetns(netns, qemuUser(vmId));
        return {
          ...{ netnsPath: `/run/netns/${netns}`, tapName: 'tap0', guestAddress },
          ...{ gateway: '10.99.0.1', mtu: 1400, dns: [] },
        };
      },
      uplink: () => undefined,
      useGateways: async () => undefined,
      destroy: async (vmId) => await this.#removeNetns(nameOf(vmId)),
      retain: async () => [],
    };
  }

  /** Networks that are there now. */
  get networks(): number {
    return this.#netns.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#hosts.map((host) => host.close()));
    this.#end.abort();
    for (const netns of [...this.#netns]) await this.#removeNetns(netns);
    for (const { name } of this.#hosts) {
      await rm(`/run/architect-agent/${this.fleet}-${name}`, { recursive: true, force: true });
    }
    await this.#peers[Symbol.asyncDispose]();
    await rm(this.dir, { recursive: true, force: true });
  }

  async #makeNetns(netns: string, user: number): Promise<void> {
    this.#netns.add(netns);
    await execa('ip', ['netns', 'add', netns]);
    const tap = ['tuntap', 'add', 'tap0', 'mode', 'tap', 'user', String(user)];
    await execa('ip', ['-n', netns, ...tap]);
    await execa('ip', ['-n', netns, 'link', 'set', 'tap0', 'up']);
  }

  async #removeNetns(netns: string): Promise<void> {
    if (this.#netns.delete(netns)) await execa('ip', ['netns', 'delete', netns], { reject: false });
  }
}
