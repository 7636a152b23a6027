/** Real VMs for tests: from the artifacts that set-up prepared, in namespaces made here. */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, globSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import pino from 'pino';
import { expect } from 'vitest';
import { artifactFolder } from '../../../host-agent/protocol/artifact.ts';
import { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import { startVm } from '../../../host-agent/vm/driver.ts';
import { connectGuestAgent } from '../../../host-agent/vm/guest-agent/guest-agent.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import { readVmMemory } from '../../../host-agent/vm/state-file.ts';
import type { VmDriver, VmSnapshot, VmStart } from '../../../host-agent/vm/vm-driver.ts';
import { VmStart as VmStartSchema } from '../../../host-agent/vm/vm-driver.ts';
import { vmFiles } from '../../../host-agent/vm/vm-files.ts';
import { makeDiskFolder } from '../../fixtures/disk-folder.ts';

const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
const WAIT_MS = 120_000;

export const logger = pino({ level: process.env.ARCHITECT_LOG_LEVEL ?? 'silent' });

/** The pool of the small image under software emulation; fails, saying how to get it. */
export function readPool(): PoolSpec {
  const [path] = globSync(join(HOME, 'artifacts/pools/small-*-tcg-*.json'));
  if (path === undefined) {
    throw new Error(`No prepared pool in ${HOME}/artifacts/pools: run "npm run setup" first.`);
  }
  return PoolSpec.parse(JSON.parse(readFileSync(path, 'utf8')));
}

export interface TestVm {
  readonly driver: VmDriver;
  readonly spec: VmStart;
}

/** Owns everything that its VMs use; disposing removes it all, also after a failed test. */
export class TestFleet implements AsyncDisposable {
  readonly dir: string;
  readonly #netns: string[] = [];
  readonly #drivers = new Set<VmDriver>();

  constructor(dir: string) {
    this.dir = dir;
  }

  static async create(): Promise<TestFleet> {
    const dir = await makeDiskFolder('architect-vm');
    chmodSync(dir, 0o711);
    return new TestFleet(dir);
  }

  /** A spec with a namespace that has nothing but the tap in it. */
  async spec(change: Partial<VmStart['class']> = {}): Promise<VmStart> {
    const pool = readPool();
    const vmId = `vm-${randomBytes(4).toString('hex')}`;
    const netns = `ar-test-${vmId}`;
    await execa('ip', ['netns', 'add', netns]);
    this.#netns.push(netns);
    const tap = ['tuntap', 'add', 'tap0', 'mode', 'tap', 'user', String(qemuUser(vmId))];
    await execa('ip', ['-n', netns, ...tap]);
    await execa('ip', ['-n', netns, 'link', 'set', 'tap0', 'up']);
    return VmStartSchema.parse({
      vmId,
      class: { vcpus: 1, memoryMib: 512, diskGib: 1, arch: 'x64', ...change },
      pool,
      imageDir: join(HOME, 'artifacts', artifactFolder(pool.image)),
      templateDir: join(HOME, 'artifacts', artifactFolder(pool.template)),
      vmDir: join(this.dir, vmId),
      network: {
        netnsPath: `/run/netns/${netns}`,
        tapName: 'tap0',
        guestAddress: '10.99.0.2',
        gateway: '10.99.0.1',
        mtu: 1400,
        dns: ['10.99.0.1'],
      },
      fleet: 'test',
    });
  }

  async start(change: Partial<VmStart['class']> = {}): Promise<TestVm> {
    const spec = await this.spec(change);
    return { spec, driver: this.own(startVm(spec, { logger })) };
  }

  own(driver: VmDriver): VmDriver {
    this.#drivers.add(driver);
    return driver;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#drivers].map((driver) => driver.stop('the test is over')));
    for (const netns of this.#netns)
      await execa('ip', ['netns', 'delete', netns], { reject: false });
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Rejects as soon as the VM has failed, with its why, unless that is what is waited for. */
export async function until(
  driver: VmDriver,
  wanted: (snapshot: VmSnapshot) => boolean,
): Promise<VmSnapshot> {
  const reached = Promise.withResolvers<VmSnapshot>();
  const look = () => {
    const snapshot = driver.snapshot();
    if (wanted(snapshot)) reached.resolve(snapshot);
    else if (snapshot.phase === 'failed') reached.reject(new Error(snapshot.why ?? 'failed'));
  };
  const unsubscribe = driver.onChange(look);
  const timer = setTimeout(() => {
    reached.reject(new Error(`still ${driver.snapshot().phase} after ${WAIT_MS} ms`));
  }, WAIT_MS);
  look();
  return reached.promise.finally(() => {
    clearTimeout(timer);
    unsubscribe();
  });
}

export async function untilIdle(driver: VmDriver): Promise<VmSnapshot> {
  return until(driver, ({ phase }) => phase === 'idle');
}

export function processExists(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

/**
 * Takes the guest agent's port from the driver (it serves one client) and runs a bash script in the
 * guest. The driver is detached by it: adopt the VM to go on.
 */
export async function runInGuest({ driver, spec }: TestVm, script: string): Promise<string> {
  driver.detach();
  await untilSaved(spec, driver);
  const socket = vmFiles(spec.vmDir).guestAgentSocket;
  const guest = await connectGuestAgent(socket, AbortSignal.timeout(WAIT_MS));
  try {
    const exec = { path: '/bin/bash', args: ['-c', script], timeoutMs: WAIT_MS };
    const { exitCode, stdout, stderr } = await guest.exec(exec);
    if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${stdout} ${stderr}`);
    return stdout.trim();
  } finally {
    guest.close();
  }
}

/** The driver writes its state behind the scenes; a new agent reads what is on disk. */
export async function untilSaved(spec: VmStart, driver: VmDriver): Promise<void> {
  const { phase } = driver.snapshot();
  const read = async () => (await readVmMemory(vmFiles(spec.vmDir).state))?.state.phase;
  await expect.poll(read).toBe(phase);
}
