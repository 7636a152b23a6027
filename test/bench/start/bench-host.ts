/** A host as host-agent/agent.ts composes it, without the connection: decisions come from here. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Agent } from 'undici';
import { ArtifactKeeper } from '../../../host-agent/artifacts/artifact-keeper.ts';
import { JournalStore } from '../../../host-agent/journal/journal-store.ts';
import { KeyRing } from '../../../host-agent/migration/key-ring.ts';
import { type Mobility, TemplateMemories } from '../../../host-agent/migration/mobility.ts';
import { openVmNetworks, type VmNetworks } from '../../../host-agent/net/vm-networks.ts';
import type { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import { HostId, VmId } from '../../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import type { AgentOutcome, AgentRequest } from '../../../host-agent/protocol/messages.ts';
import { Supervisor } from '../../../host-agent/supervisor/supervisor.ts';
import { startVm } from '../../../host-agent/vm/driver.ts';
import type { VmDriver } from '../../../host-agent/vm/vm-driver.ts';
import { readBenchPool } from '../migration/bench-pool.ts';
import type { StartMeasured } from './host-messages.ts';

const UNDERLAY_MTU = 1500;
const CAPACITY = { vcpus: 64, memoryMib: 256 * 1024, diskGib: 1024 };
const START_LIMIT_MS = 180_000;
const LOOK_MS = 5;

interface Started {
  readonly networkAtMs: number;
  readonly driver: VmDriver;
}

export class BenchHost {
  readonly networks: VmNetworks;
  readonly pool: PoolSpec;
  readonly #supervisor: Supervisor;
  readonly #started: Map<string, Started>;

  private constructor(parts: {
    readonly networks: VmNetworks;
    readonly pool: PoolSpec;
    readonly supervisor: Supervisor;
    readonly started: Map<string, Started>;
  }) {
    this.networks = parts.networks;
    this.pool = parts.pool;
    this.#supervisor = parts.supervisor;
    this.#started = parts.started;
  }

  /** In the network namespace of the caller, which becomes the host's. */
  static async open(place: {
    readonly fleet: string;
    readonly homeDir: string;
    readonly dir: string;
    readonly logger: Logger;
    readonly signal: AbortSignal;
    /** Tells it from other hosts of its fleet on this machine. */
    readonly tag?: string;
    /** Without it its VMs go nowhere. */
    readonly mobility?: Mobility;
  }): Promise<BenchHost> {
    const { fleet, homeDir, dir, logger, signal, tag = 'b', mobility = immobile() } = place;
    const vmsDir = join(dir, 'vms');
    await mkdir(vmsDir, { recursive: true });
    await Promise.all([dir, vmsDir].map((folder) => chmod(folder, 0o711)));
    const shared = { nowMs: Date.now, logger, onChange: () => undefined };
    const source = { url: 'https://127.0.0.1:9', dispatcher: new Agent() };
    const storeDir = join(homeDir, 'artifacts');
    const artifacts = new ArtifactKeeper({ ...shared, storeDir, source, signal });
    await artifacts.open();
    const network = { fleet, tag, underlayMtu: UNDERLAY_MTU, dns: [], allow: [], logger };
    const networks = await openVmNetworks(network);
    const started = new Map<string, Started>();
    const drivers = {
      start: (spec: Parameters<typeof startVm>[0]) => {
        const networkAtMs = performance.now();
        const driver = startVm(spec, { logger });
        started.set(spec.vmId, { networkAtMs, driver });
        return driver;
      },
      adopt: async () => undefined,
    };
    const journals = new JournalStore(dir);
    const parts = { ...shared, fleet, tag, vmsDir, networks, drivers, journals, artifacts };
    const supervisor = new Supervisor({ ...parts, mobility, capacity: CAPACITY });
    const pool = readBenchPool(homeDir);
    await supervisor.recover();
    supervisor.admit(pool);
    return new BenchHost({ networks, pool, supervisor, started });
  }

  async serve(request: AgentRequest): Promise<AgentOutcome> {
    return await this.#supervisor.serve(request);
  }

  picture(): ReturnType<Supervisor['picture']> {
    return this.#supervisor.picture();
  }

  /** Of a VM that was started here. */
  driverOf(vmId: string): VmDriver | undefined {
    return this.#started.get(vmId)?.driver;
  }

  /** From the decision to `idle`, then away with it. Throws with the VM's own why when it fails. */
  async measureStart(
    className: string,
    size: InstanceClass,
    signal: AbortSignal,
  ): Promise<StartMeasured> {
    const vmId = VmId.parse(`vm-${randomBytes(4).toString('hex')}`);
    try {
      const decidedAtMs = performance.now();
      const request = { kind: 'start-vm', vmId, class: size, pool: this.pool } as const;
      const outcome = await this.#supervisor.serve(request);
      if (outcome.kind === 'refused') throw new Error(outcome.why);
      await this.#untilPhase(vmId, 'idle', signal);
      return { kind: 'start', className, atMs: this.#timesOf(vmId, decidedAtMs) };
    } finally {
      await this.remove(vmId);
    }
  }

  #timesOf(vmId: VmId, decidedAtMs: number): number[] {
    const started = this.#started.get(vmId);
    if (started === undefined) throw new Error(`${vmId} was never started`);
    const times = started.driver.times();
    const { spawnedAtMs, qmpReadyAtMs, loadedAtMs, guestAnsweredAtMs, idleAtMs } = times;
    const wallAtMs = performance.timeOrigin + decidedAtMs;
    const later = [spawnedAtMs, qmpReadyAtMs, loadedAtMs, guestAnsweredAtMs, idleAtMs];
    return [started.networkAtMs - decidedAtMs, ...later.map((atMs) => (atMs ?? 0) - wallAtMs)];
  }

  async remove(vmId: VmId): Promise<void> {
    await this.#supervisor.serve({ kind: 'stop-vm', vmId, why: 'It was measured.' });
    await this.#supervisor.serve({ kind: 'forget-vm', vmId });
    const signal = AbortSignal.timeout(START_LIMIT_MS);
    while (this.networks.list().includes(vmId)) await delay(LOOK_MS, undefined, { signal });
  }

  async #untilPhase(vmId: VmId, wanted: string, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(START_LIMIT_MS)]);
    for (;;) {
      const vm = this.#supervisor.picture().vms.find((one) => one.vmId === vmId);
      if (vm?.phase === wanted) return;
      if (vm?.phase === 'failed' || vm?.phase === 'stopped') throw new Error(vm.why ?? vm.phase);
      await delay(LOOK_MS, undefined, { signal: limit });
    }
  }
}

/** These VMs are tracked, as all are, and go nowhere. */
function immobile(): Mobility {
  return {
    hostId: HostId.parse('h-bench'),
    identity: { caPem: '', certificatePem: '', privateKeyPem: '' },
    address: '127.0.0.1',
    ports: { first: 49_152, last: 49_215 },
    memories: new TemplateMemories(),
    keys: new KeyRing('bench'),
    store: () => undefined,
  };
}
