/**
 * The same guest moved by QEMU alone, to compare with: precopy over TCP from QEMU to QEMU, the disk by
 * `blockdev-mirror` to an NBD export of the target, nothing of Architect in between. Between the
 * namespaces of a bench fleet's hosts, so over the same links.
 *
 *   target in `-incoming`, its overlay exported ─▶ mirror ready ─▶ migrate ─▶ pre-switchover: mirror
 *   ended, export closed ─▶ migrate-continue ─▶ the target runs by itself
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { pino } from 'pino';
import { artifactFolder } from '../../../host-agent/protocol/artifact.ts';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import { startVm } from '../../../host-agent/vm/driver.ts';
import { killQemu, type LaunchedQemu, readLastLogLine } from '../../../host-agent/vm/launch.ts';
import { launchMachine, readArtifacts, withVmFolder } from '../../../host-agent/vm/machine.ts';
import { createOverlay } from '../../../host-agent/vm/overlay.ts';
import { OVERLAY_NODE } from '../../../host-agent/vm/qemu-arguments.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import { connectQmp, type QmpClient } from '../../../host-agent/vm/qmp/qmp-client.ts';
import type { VmDriver, VmMachine, VmStart } from '../../../host-agent/vm/vm-driver.ts';
import { VmStart as VmStartSchema } from '../../../host-agent/vm/vm-driver.ts';
import { vmFiles } from '../../../host-agent/vm/vm-files.ts';
import type { BenchFleet } from './bench-fleet.ts';
import { readBenchPool } from './bench-pool.ts';
import { whenEvent, whenMigration } from './qmp-waits.ts';

const LIMIT_MS = 180_000;
const KILL_LIMIT_MS = 10_000;
const EXPORT_PORT = 10_809;
const MIGRATION_PORT = 10_808;
/** As fast as the link is; QEMU's own default is 128 MiB/s. */
const UNLIMITED_BYTES_PER_S = 2 ** 50;
const TAP = 'plain0';

interface Running {
  readonly at: number;
  readonly qmp: QmpClient;
  readonly vmDir: string;
  end(): Promise<void>;
}

export interface PlainMove {
  /** From the source's STOP event to the target's RESUME. */
  readonly blackoutMs: number;
  readonly totalMs: number;
}

export class PlainVm implements AsyncDisposable {
  readonly #fleet: BenchFleet;
  readonly #spec: VmStart;
  readonly #driver: VmDriver;
  #machine: VmMachine | undefined;
  #running: Running | undefined;
  #moves = 0;

  private constructor(fleet: BenchFleet, spec: VmStart) {
    this.#fleet = fleet;
    this.#spec = spec;
    const logger = pino({ level: 'warn' }, pino.destination(2));
    this.#driver = startVm(spec, { logger });
  }

  /** On host 0, idle when it resolves; nobody tracks it. */
  static async start(fleet: BenchFleet, size: InstanceClass): Promise<PlainVm> {
    const vmId = `vm-${randomBytes(4).toString('hex')}`;
    for (const index of [0, 1]) await makeTap(fleet.netnsOf(index), qemuUser(vmId));
    const spec = specOf(fleet, { vmId, size, at: 0, name: 'plain' });
    const vm = new PlainVm(fleet, spec);
    try {
      await vm.#untilIdle();
      return vm;
    } catch (error) {
      await vm[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Only before its first move. Gives what the script wrote. */
  async run(script: string, timeoutMs = 60_000): Promise<string> {
    const live = this.#driver.live();
    if (live === undefined) throw new Error('the plain VM is not where it was started');
    const exec = { path: '/bin/bash', args: ['-c', script], timeoutMs };
    const { exitCode, stdout, stderr } = await live.guest.exec(exec);
    if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${stdout} ${stderr}`);
    return stdout;
  }

  /** To the other host. */
  async move(): Promise<PlainMove> {
    const source = this.#running;
    if (source === undefined) throw new Error('the plain VM does not run');
    const to = 1 - source.at;
    const target = await this.#prepare(to);
    try {
      const begunMs = performance.now();
      const blackoutMs = await migrate(source.qmp, target.qmp, this.#fleet.addressOf(to));
      const totalMs = performance.now() - begunMs;
      this.#running = target;
      await source.end();
      return { blackoutMs, totalMs };
    } catch (cause) {
      const [here, there] = await Promise.all([source, target].map(readLastWords));
      await target.end();
      throw new Error(`QEMU's own move failed; source: ${here}; target: ${there}`, { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running?.end();
    await this.#driver.stop('It was measured.');
  }

  async #untilIdle(): Promise<void> {
    const reached = Promise.withResolvers<void>();
    const look = () => {
      const { phase, why } = this.#driver.snapshot();
      if (phase === 'idle') reached.resolve();
      if (phase === 'failed') reached.reject(new Error(why ?? 'failed'));
    };
    this.#driver.onChange(look);
    look();
    const timer = setTimeout(() => reached.reject(new Error('it never came up')), LIMIT_MS);
    await reached.promise.finally(() => clearTimeout(timer));
    const live = this.#driver.live();
    if (live === undefined) throw new Error('the plain VM cannot be reached');
    this.#machine = live.machine;
    const end = () => this.#driver.stop('It has moved.');
    this.#running = { at: 0, qmp: live.qmp, vmDir: this.#spec.vmDir, end };
  }

  /** A QEMU that waits there, with its empty overlay exported. */
  async #prepare(at: number): Promise<Running> {
    const machine = this.#machine;
    if (machine === undefined) throw new Error('the plain VM was never started');
    this.#moves += 1;
    const { vmId, class: size } = this.#spec;
    const spec = specOf(this.#fleet, { vmId, size, at, name: `plain-${this.#moves}` });
    const files = vmFiles(spec.vmDir);
    await mkdir(spec.vmDir, { recursive: true });
    const overlay = { sizeBytes: machine.diskBytes, user: qemuUser(vmId) };
    await withVmFolder(spec, files, () => createOverlay(files.overlay, overlay));
    const artifacts = await readArtifacts(spec);
    const { plugged, generationId } = machine;
    const how = { mode: 'arrive', plugged, generationId } as const;
    const qemu = await launchMachine({ spec, files, artifacts, ...how });
    const end = async () => await removeQemu(qemu, spec.vmDir);
    try {
      const qmp = await connectQmp(files.qmpSocket, AbortSignal.timeout(LIMIT_MS));
      await awaitMigration(qmp, this.#fleet.addressOf(at));
      return { at, qmp, vmDir: spec.vmDir, end };
    } catch (error) {
      await end();
      throw error;
    }
  }
}

async function readLastWords({ vmDir }: Running): Promise<string> {
  return (await readLastLogLine(vmFiles(vmDir).log)) ?? 'no word';
}

async function awaitMigration(qmp: QmpClient, address: string): Promise<void> {
  const addr = { type: 'inet', data: { host: address, port: String(EXPORT_PORT) } };
  await qmp.run('nbd-server-start', { addr });
  const disk = { type: 'nbd', id: 'disk', 'node-name': OVERLAY_NODE, writable: true };
  await qmp.run('block-export-add', disk);
  await qmp.run('migrate-incoming', { uri: `tcp:${address}:${MIGRATION_PORT}` });
  // Before the state has come, it means: run as soon as it has.
  await qmp.run('cont');
}

/** Gives the blackout. */
async function migrate(source: QmpClient, target: QmpClient, address: string): Promise<number> {
  await mirror(source, address);
  // The template was loaded with `x-ignore-shared`, which a move must not have.
  const capabilities = [
    { capability: 'events', state: true },
    { capability: 'pause-before-switchover', state: true },
    { capability: 'x-ignore-shared', state: false },
  ];
  await source.run('migrate-set-capabilities', { capabilities });
  await source.run('migrate-set-parameters', { 'max-bandwidth': UNLIMITED_BYTES_PER_S });
  const paused = whenMigration(source, 'pre-switchover', LIMIT_MS);
  const stopped = whenEvent(source, 'STOP', LIMIT_MS);
  const resumed = whenEvent(target, 'RESUME', LIMIT_MS);
  await source.run('migrate', { uri: `tcp:${address}:${MIGRATION_PORT}` });
  await paused;
  const copied = whenEvent(source, 'BLOCK_JOB_COMPLETED', LIMIT_MS);
  await source.run('block-job-cancel', { device: 'mirror' });
  await copied;
  await source.run('blockdev-del', { 'node-name': 'mirror-target' });
  await target.run('nbd-server-stop');
  await source.run('migrate-continue', { state: 'pre-switchover' });
  return (await resumed) - (await stopped);
}

/** Resolves when it is ready: what the guest writes from now on travels as it is written. */
async function mirror(source: QmpClient, address: string): Promise<void> {
  await source.run('blockdev-add', {
    ...{ driver: 'nbd', 'node-name': 'mirror-target', export: OVERLAY_NODE },
    server: { type: 'inet', host: address, port: String(EXPORT_PORT) },
  });
  const ready = whenEvent(source, 'BLOCK_JOB_READY', LIMIT_MS);
  await source.run('blockdev-mirror', {
    ...{ 'job-id': 'mirror', device: OVERLAY_NODE, target: 'mirror-target', sync: 'top' },
  });
  await ready;
}

function specOf(
  fleet: BenchFleet,
  vm: { readonly vmId: string; readonly size: InstanceClass; at: number; name: string },
): VmStart {
  const pool = readBenchPool(fleet.homeDir);
  return VmStartSchema.parse({
    vmId: vm.vmId,
    ...{ class: vm.size, pool, fleet: fleet.name, place: `${vm.vmId}.${vm.name}` },
    imageDir: join(fleet.homeDir, 'artifacts', artifactFolder(pool.image)),
    templateDir: join(fleet.homeDir, 'artifacts', artifactFolder(pool.template)),
    vmDir: join(fleet.dir, vm.name),
    network: {
      netnsPath: `/run/netns/${fleet.netnsOf(vm.at)}`,
      ...{ tapName: TAP, guestAddress: '10.99.0.2', gateway: '10.99.0.1' },
      ...{ mtu: 1400, dns: ['10.99.0.1'] },
    },
  });
}

async function makeTap(netns: string, user: number): Promise<void> {
  const tap = ['tuntap', 'add', TAP, 'mode', 'tap', 'user', String(user)];
  await execa('ip', ['-n', netns, ...tap]);
  await execa('ip', ['-n', netns, 'link', 'set', TAP, 'up']);
}

async function removeQemu(qemu: LaunchedQemu, vmDir: string): Promise<void> {
  await killQemu(qemu, KILL_LIMIT_MS);
  await rm(vmDir, { recursive: true, force: true });
}
