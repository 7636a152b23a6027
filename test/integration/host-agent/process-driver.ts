/**
 * A VM that is a `sleep`: everything of a driver that the supervisor sees, without a guest. Like
 * QEMU it outlives its agent, and like a VM's folder its folder tells the next agent what it was.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobId } from '../../../host-agent/protocol/ids.ts';
import type { AgentOutcome } from '../../../host-agent/protocol/messages.ts';
import { VmReport } from '../../../host-agent/protocol/vm-report.ts';
import type { Networks, VmDrivers } from '../../../host-agent/supervisor/ports.ts';
import type { VmDriver, VmSnapshot, VmStart } from '../../../host-agent/vm/vm-driver.ts';

const POLL_MS = 50;

export const processDrivers: VmDrivers = {
  start: (spec) => new ProcessDriver(spec.vmDir, launch(spec)),
  adopt: async (vmDir) => {
    const text = readFileSync(join(vmDir, 'state.json'), 'utf8');
    return new ProcessDriver(vmDir, VmReport.omit({ epoch: true }).parse(JSON.parse(text)));
  },
};

/** Networks that are names alone. */
export function nameNetworks(): Networks {
  const made = new Set<string>();
  return {
    ensure: async (vmId) => {
      made.add(vmId);
      return {
        netnsPath: `/run/netns/${vmId}`,
        tapName: 'tap0',
        guestAddress: '10.201.0.2',
        gateway: '169.254.1.1',
        mtu: 1450,
        dns: [],
      };
    },
    uplink: () => undefined,
    useGateways: async () => undefined,
    destroy: async (vmId) => void made.delete(vmId),
    retain: async (wanted) => {
      const stale = [...made].filter((vmId) => !wanted.has(vmId));
      for (const vmId of stale) made.delete(vmId);
      return stale;
    },
  };
}

export function isRunning(pid: number | null | undefined): boolean {
  if (pid === null || pid === undefined) return false;
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function launch({ vmId, vmDir, class: size, pool }: VmStart): VmSnapshot {
  mkdirSync(vmDir, { recursive: true });
  const child: ChildProcess = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
  child.unref();
  return {
    vmId,
    phase: 'idle',
    class: size,
    assignedJob: null,
    accelerator: pool.accelerator,
    qemuPid: child.pid ?? null,
    guestKernel: '6.12',
    runner: { state: 'waiting' },
    why: null,
    startedAtMs: Date.now(),
    guestReadyAtMs: Date.now(),
    runnerStartedAtMs: null,
    stoppedAtMs: null,
  };
}

class ProcessDriver implements VmDriver {
  readonly vmId: VmDriver['vmId'];
  readonly #dir: string;
  readonly #pid: number | null;
  readonly #watch: NodeJS.Timeout;
  #snapshot: VmSnapshot;
  #listeners: (() => void)[] = [];

  constructor(dir: string, snapshot: VmSnapshot) {
    if (basename(dir) !== snapshot.vmId) throw new Error(`${dir} is not of ${snapshot.vmId}`);
    this.vmId = snapshot.vmId;
    this.#dir = dir;
    this.#snapshot = snapshot;
    this.#pid = snapshot.qemuPid;
    this.#change({});
    this.#watch = setInterval(() => this.#look(), POLL_MS);
    this.#look();
  }

  snapshot = () => this.#snapshot;
  live = () => undefined;
  times = () => ({
    decidedAtMs: null,
    spawnedAtMs: null,
    qmpReadyAtMs: null,
    loadedAtMs: null,
    guestAnsweredAtMs: null,
    idleAtMs: null,
  });

  async assign({ jobId }: { readonly jobId: JobId }): Promise<AgentOutcome> {
    this.#change({ phase: 'assigned', assignedJob: jobId, runner: { state: 'running' } });
    return { kind: 'taken' };
  }

  async resized(): Promise<void> {}

  async stop(why: string): Promise<void> {
    clearInterval(this.#watch);
    if (isRunning(this.#pid)) process.kill(this.#pid ?? 0, 'SIGKILL');
    while (isRunning(this.#pid)) await sleep(POLL_MS);
    if (this.#snapshot.phase !== 'failed') this.#change({ phase: 'stopped', why });
  }

  onChange(listener: () => void): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  detach(): void {
    clearInterval(this.#watch);
  }

  async flushed(): Promise<void> {}

  #look(): void {
    if (isRunning(this.#pid) || this.#snapshot.phase === 'failed') return;
    this.#change({ phase: 'failed', why: 'QEMU ended unexpectedly.' });
  }

  #change(part: Partial<VmSnapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...part };
    writeFileSync(join(this.#dir, 'state.json'), JSON.stringify(this.#snapshot));
    for (const listener of this.#listeners) listener();
  }
}
