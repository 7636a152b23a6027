/**
 * The driver: owns all effects on one VM (its QEMU, files and cgroup) and runs what lifecycle.ts
 * decides. Lifecycle and invariants: lifecycle.ts; what callers may rely on: vm-driver.ts.
 */
import { stat } from 'node:fs/promises';
import { z } from 'zod';
import { refused } from '../protocol/errors.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import { handInJob, readRunnerState, setClock } from './guest-steps.ts';
import { findQemu, isAlive, type LaunchedQemu, readLastLogLine } from './launch.ts';
import { type Effect, isLive, jobOf, step, type VmEvent, type VmState } from './lifecycle.ts';
import { isHalted, readFatalEvent, readFatalStatus } from './qemu-watch.ts';
import { type Connections, connectVm, runStartSequence } from './start-sequence.ts';
import { freshMemory, readVmMemory, type VmMemory, writeVmMemory } from './state-file.ts';
import type {
  AdoptHow,
  AssignedJob,
  DriverContext,
  LiveVm,
  StartTimes,
  VmDriver,
  VmSnapshot,
  VmStart,
} from './vm-driver.ts';
import { endVm } from './vm-ending.ts';
import { QmpDisconnectedError, VmStartError } from './vm-errors.ts';
import { type VmFiles, vmFiles } from './vm-files.ts';

const START_TIMEOUT_MS = 120_000;
const ADOPT_TIMEOUT_MS = 10_000;
const RUNNER_POLL_MS = 2_000;
const EXIT_STATUS_TIMEOUT_MS = 1_000;
const MAX_WHY = 500;

/** Starts the VM and answers at once; what becomes of it shows in the snapshots. */
export function startVm(spec: VmStart, context: DriverContext): VmDriver {
  const driver = new Driver(freshMemory(spec, wallClockMs()), context);
  driver.begin();
  return driver;
}

/** Drives a VM that has arrived and runs: its QEMU, launched here, goes on where the source stopped. */
export function driveArrived(
  arrived: {
    readonly memory: VmMemory;
    readonly qemu: LaunchedQemu;
    readonly connections: Connections;
  },
  context: DriverContext,
): VmDriver {
  const driver = new Driver(arrived.memory, context);
  driver.goOn(arrived.qemu, arrived.connections);
  return driver;
}

/**
 * Takes over the VM that this folder belongs to. Undefined when the folder holds no VM's state: the
 * caller may remove it. A VM that cannot go on comes back as `failed`, already being cleaned up.
 * `mayRun` false: a guest that stands is left standing, to be stopped for good.
 */
export async function adoptVm(
  vmDir: string,
  context: DriverContext,
  { mayRun }: AdoptHow = { mayRun: true },
): Promise<VmDriver | undefined> {
  const memory = await readVmMemory(vmFiles(vmDir).state);
  if (memory === undefined) return undefined;
  const driver = new Driver(memory, context);
  await driver.adopt(mayRun);
  return driver;
}

function wallClockMs(): number {
  return performance.timeOrigin + performance.now();
}

class Driver implements VmDriver {
  readonly #context: DriverContext;
  readonly #files: VmFiles;
  readonly #listeners = new Set<() => void>();
  readonly #stopStarting = new AbortController();
  #memory: VmMemory;
  #connections: Connections | undefined;
  #launched: LaunchedQemu | undefined;
  #starting: Promise<void> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();
  #ending: Promise<void> | undefined;
  #runnerTimer: NodeJS.Timeout | undefined;
  #detached = false;

  constructor(memory: VmMemory, context: DriverContext) {
    const { vmId, vmDir } = memory.spec;
    this.#memory = memory;
    this.#files = vmFiles(vmDir);
    this.#context = { logger: context.logger.child({ vmId }) };
  }

  get vmId() {
    return this.#memory.spec.vmId;
  }

  times(): StartTimes {
    return this.#memory.times;
  }

  snapshot(): VmSnapshot {
    const { spec, state, times, qemu, guestKernel, runnerStartedAtMs, stoppedAtMs } = this.#memory;
    return {
      vmId: spec.vmId,
      phase: state.phase,
      class: spec.class,
      assignedJob: jobOf(state) ?? null,
      accelerator: spec.pool.accelerator,
      qemuPid: qemu?.pid ?? null,
      guestKernel,
      runner: state.phase === 'assigned' ? state.runner : { state: 'waiting' },
      why: 'why' in state ? state.why : null,
      startedAtMs: round(times.spawnedAtMs),
      guestReadyAtMs: round(times.guestAnsweredAtMs),
      runnerStartedAtMs,
      stoppedAtMs,
    };
  }

  live(): LiveVm | undefined {
    const { state, machine } = this.#memory;
    const grown = state.phase === 'idle' || state.phase === 'assigned';
    if (!grown || machine === null || this.#connections === undefined) return undefined;
    return { memory: this.#memory, machine, ...this.#connections };
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  begin(): void {
    const limit = AbortSignal.timeout(START_TIMEOUT_MS);
    this.#starting = this.#start(AbortSignal.any([limit, this.#stopStarting.signal]));
  }

  goOn(qemu: LaunchedQemu, connections: Connections): void {
    this.#watchProcess(qemu);
    this.#connect(connections);
    void this.#save();
    if (this.#memory.state.phase === 'assigned') this.#watchRunner();
  }

  async assign({ jobId, ...job }: AssignedJob): Promise<AgentOutcome> {
    const outcome = this.#apply({ kind: 'assign', jobId });
    if (outcome.kind === 'refused') return refused(outcome.why);
    if (outcome.kind === 'ignored') return { kind: 'taken' };
    try {
      await this.#saving;
      const guest = this.#connections?.guest;
      if (guest === undefined) throw new VmStartError("The guest's port is not connected.");
      await handInJob(guest, job);
    } catch (error) {
      const why = describe(error);
      this.#apply({ kind: 'broke', why });
      return refused(why);
    }
    this.#remember({ runnerStartedAtMs: Math.round(wallClockMs()) });
    await this.#save();
    this.#changed();
    return { kind: 'taken' };
  }

  async resized({ class: size, plugged }: Parameters<VmDriver['resized']>[0]): Promise<void> {
    const { spec, machine } = this.#memory;
    if (machine === null) return;
    this.#remember({ spec: { ...spec, class: size }, machine: { ...machine, plugged } });
    await this.#save();
    this.#changed();
  }

  async stop(why: string): Promise<void> {
    this.#apply({ kind: 'stop', why: why.slice(0, MAX_WHY) });
    await this.#ending;
    await this.#saving;
  }

  detach(): void {
    this.#detached = true;
    clearTimeout(this.#runnerTimer);
    this.#stopStarting.abort(new VmStartError('The agent ends while the VM starts.'));
    this.#connections?.qmp.close();
    this.#connections?.guest.close();
  }

  async flushed(): Promise<void> {
    await this.#saving;
  }

  /** Goes on where the last agent left off. */
  async adopt(mayRun: boolean): Promise<void> {
    const { state, qemu: known } = this.#memory;
    const qemu =
      known !== null && (await isAlive(known)) ? known : await findQemu(this.#files.qmpSocket);
    this.#remember({ qemu: qemu ?? known });
    if (!isLive(state)) {
      // Cleaning up may have been cut short; doing it again does no harm.
      if (state.phase === 'draining' || qemu !== undefined) this.#end();
      return;
    }
    if (qemu === undefined) {
      const lastLine = (await readLastLogLine(this.#files.log)) ?? 'it said nothing';
      return this.#break(`QEMU ended while the host-agent was away (${lastLine})`);
    }
    if (state.phase === 'allocating' || state.phase === 'starting') {
      return this.#break('the host-agent was restarted while the VM started');
    }
    await this.#reconnect(mayRun);
  }

  async #reconnect(mayRun: boolean): Promise<void> {
    try {
      const connections = await connectVm(this.#files, AbortSignal.timeout(ADOPT_TIMEOUT_MS));
      this.#connect(connections);
      const answer = z.object({ status: z.string() });
      const { status } = await connections.qmp.call({ command: 'query-status', answer });
      const why = readFatalStatus(status);
      if (why !== undefined) return this.#break(why);
      if (isHalted(status) && mayRun) await resumeGuest(connections.qmp);
      // It may have stood, and nobody set it since.
      if (mayRun) void setClock(connections.guest, this.#context.logger);
      this.#context.logger.info({ qemuPid: this.#memory.qemu?.pid, status }, 'VM adopted');
      if (this.#memory.state.phase === 'assigned') this.#watchRunner();
    } catch (error) {
      this.#break(`the running QEMU could not be taken over: ${describe(error)}`);
    }
  }

  async #start(signal: AbortSignal): Promise<void> {
    try {
      const { guestKernel, machine } = await runStartSequence({
        spec: this.#memory.spec,
        files: this.#files,
        signal,
        hooks: {
          remember: () => this.#save(),
          onTime: (name) => this.#note(name),
          onLaunched: (qemu) => this.#onLaunched(qemu),
          onConnected: (connections) => this.#connect(connections),
        },
      });
      this.#remember({ machine, guestKernel: guestKernel === '' ? null : guestKernel });
      this.#note('idleAtMs');
      this.#apply({ kind: 'ready' });
    } catch (error) {
      // QEMU's own last words say more than the connection that broke with it.
      if (error instanceof QmpDisconnectedError) await this.#onQemuGone();
      this.#break(`the VM could not be started: ${describe(error)}`);
    }
  }

  #onLaunched(qemu: LaunchedQemu): void {
    this.#watchProcess(qemu);
    this.#apply({ kind: 'launched' });
  }

  #watchProcess(qemu: LaunchedQemu): void {
    this.#launched = qemu;
    this.#remember({ qemu: { pid: qemu.pid, startTicks: qemu.startTicks } });
    void qemu.ended.then(() => this.#onQemuGone());
  }

  #connect(connections: Connections): void {
    this.#connections = connections;
    connections.qmp.onEvent((event) => {
      const why = readFatalEvent(event);
      if (why !== undefined) this.#break(why);
    });
    void connections.qmp.closed.then(() => this.#onQemuGone());
  }

  /** Its socket or its process has ended: says how, as well as can be known. */
  async #onQemuGone(): Promise<void> {
    if (this.#detached || !isLive(this.#memory.state)) return;
    const unknown = new Promise<string>((resolve) => {
      setTimeout(resolve, EXIT_STATUS_TIMEOUT_MS, 'its connection ended').unref();
    });
    const how = await Promise.race([this.#launched?.ended ?? unknown, unknown]);
    const lastLine = await readLastLogLine(this.#files.log);
    this.#break(`QEMU died: ${how}${lastLine === undefined ? '' : ` (${lastLine})`}`);
  }

  #break(why: string): void {
    if (!this.#detached) this.#apply({ kind: 'broke', why: why.slice(0, MAX_WHY) });
  }

  #apply(event: VmEvent): ReturnType<typeof step> {
    const outcome = step(this.#memory.state, event);
    if (outcome.kind !== 'moved') return outcome;
    const from = this.#memory.state.phase;
    this.#remember({ state: outcome.state });
    this.#log(from, outcome.state);
    for (const effect of outcome.effects) this.#run(effect);
    this.#changed();
    return outcome;
  }

  #run(effect: Effect): void {
    if (effect === 'save-state') void this.#save();
    if (effect === 'watch-runner') this.#watchRunner();
    if (effect === 'end-qemu') this.#end();
    // 'hand-in-job' is run by `assign`, which alone holds the secret.
  }

  #end(): void {
    clearTimeout(this.#runnerTimer);
    this.#stopStarting.abort(new VmStartError('The VM was stopped.'));
    this.#ending ??= this.#finishEnding();
  }

  async #finishEnding(): Promise<void> {
    await this.#starting;
    const failures = await endVm({
      spec: this.#memory.spec,
      files: this.#files,
      qemu: this.#memory.qemu,
      connections: this.#connections,
    });
    for (const err of failures) this.#context.logger.error({ err }, 'VM left something behind');
    this.#remember({ stoppedAtMs: Math.round(wallClockMs()) });
    this.#apply({ kind: 'gone' });
    await this.#save();
    this.#changed();
  }

  #watchRunner(): void {
    const poll = async () => {
      const guest = this.#connections?.guest;
      const runner = guest === undefined ? undefined : await readRunnerState(guest);
      if (this.#detached || this.#memory.state.phase !== 'assigned') return;
      if (runner !== undefined) this.#apply({ kind: 'runner', runner });
      if (runner?.state !== 'exited') this.#runnerTimer = setTimeout(poll, RUNNER_POLL_MS);
    };
    this.#runnerTimer = setTimeout(poll, RUNNER_POLL_MS);
  }

  #note(name: keyof StartTimes): void {
    this.#remember({ times: { ...this.#memory.times, [name]: wallClockMs() } });
  }

  #remember(change: Partial<VmMemory>): void {
    this.#memory = { ...this.#memory, ...change };
  }

  /** One write at a time, each of the newest memory. A full disk must not end a running VM. */
  #save(): Promise<void> {
    this.#saving = this.#saving.then(async () => {
      try {
        if ((await stat(this.#files.dir).catch(() => undefined)) === undefined) return;
        await writeVmMemory(this.#files.state, this.#memory);
      } catch (err) {
        this.#context.logger.error({ err }, "the VM's state could not be written");
      }
    });
    return this.#saving;
  }

  #log(from: VmState['phase'], state: VmState): void {
    const fields = { from, phase: state.phase, jobId: jobOf(state) };
    if (state.phase === 'failed')
      this.#context.logger.error({ ...fields, why: state.why }, 'VM failed');
    else this.#context.logger.info(fields, 'VM changed its phase');
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** A migration that an earlier agent held or was finishing is given up first. */
async function resumeGuest(qmp: Connections['qmp']): Promise<void> {
  await qmp.run('migrate_cancel');
  await qmp.run('cont');
}

function round(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
