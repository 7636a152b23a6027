/**
 * A move of a real VM that stands still at one of its steps, so that a fault can hit it just there:
 *
 *   reserving    the target has consented; its agent is stopped (SIGSTOP): the dial is not answered
 *   precopy      the source's link is slow, then silent
 *   switchover   the source's agent is stopped when the guest is, before its last pages are read
 *   given        the source's agent is stopped when its journal says so, before it says so itself
 *   received     the target's agent is stopped when its journal has the token, before the guest runs
 *   committed    the target's agent is stopped when the guest runs, before the source hears of it
 *
 * And what has to be true in the end, whatever the fault was.
 */
import { pino } from 'pino';
import { TokenArbiter } from '../../../app/authority/token-arbiter.ts';
import type { SwitchoverStep } from '../../../host-agent/migration/switchover-trace.ts';
import type { HostId, MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import type { MigrationReport } from '../../../host-agent/protocol/migration-messages.ts';
import { killQemu } from '../../../host-agent/vm/launch.ts';
import { until } from '../host-agent/agent-fleet.ts';
import { churn, inBackground } from './guest-program.ts';
import { inGuest } from './in-guest.ts';
import { type MovingAgents, netnsOf, type Way } from './moving-agents.ts';
import { areSameDisks, hashMemory } from './outside-guest.ts';
import { PeerLink } from './peer-link.ts';
import { busiestThread, VcpuWatch } from './vcpu-watch.ts';
import { VmTraces } from './vm-traces.ts';

const SLOW_BITS_PER_SECOND = 40_000_000;
const SETTLE_EVERY_MS = 300;
/** Longer than any hold, and short enough for a test to see it pass. */
const MOVE_MS = 25_000;
const KILL_LIMIT_MS = 10_000;
/** CPU time of a vCPU that is kicked, in which it does nothing of the guest's. */
const STILL_MS = 3;
/** Where whose agent stands still (switchover-trace.ts). */
const HOLDS = {
  switchover: { side: 'from', at: 'guest stopped' },
  given: { side: 'from', at: 'given' },
  received: { side: 'to', at: 'received' },
  committed: { side: 'to', at: 'guest runs' },
} as const satisfies Partial<
  Record<Step, { readonly side: 'from' | 'to'; readonly at: SwitchoverStep }>
>;
/** Far less than the slow link takes. */
const CALM = { everyMs: 200, blocks: 1 };
const logger = pino({ level: 'silent' });

export const STEPS = [
  'reserving',
  'precopy',
  'switchover',
  'given',
  'received',
  'committed',
] as const;
export type Step = (typeof STEPS)[number];
export type Victim = 'source agent' | 'target agent' | 'source QEMU' | 'target QEMU';

export class FaultyMove implements AsyncDisposable {
  readonly vmId: VmId;
  readonly from: string;
  readonly to: string;
  readonly link: PeerLink;
  readonly traces: VmTraces;
  readonly #agents: MovingAgents;
  readonly #stopped = new Set<number>();
  readonly #watches = new Map<string, VcpuWatch>();
  readonly #killed = new Set<string>();
  #migrationId: MigrationId | undefined;

  constructor(
    agents: MovingAgents,
    move: { readonly vmId: VmId; readonly from: string; readonly to: string },
  ) {
    this.#agents = agents;
    this.vmId = move.vmId;
    this.from = move.from;
    this.to = move.to;
    this.link = new PeerLink(netnsOf(move.from));
    this.traces = new VmTraces(agents, move.vmId);
  }

  /** Of a new VM whose guest writes memory and disk, and knows what (guest-program.ts). */
  static async ofWriter(
    agents: MovingAgents,
    { from, to }: { readonly from: string; readonly to: string },
  ): Promise<FaultyMove> {
    const vmId = await agents.startVm(from);
    await inGuest(agents, { vmId, host: from, script: inBackground(churn(CALM)) });
    return new FaultyMove(agents, { vmId, from, to });
  }

  get migrationId(): MigrationId {
    if (this.#migrationId === undefined) throw new Error('the move has not begun');
    return this.#migrationId;
  }

  /** Resolves when the move stands at the step; what holds it there goes with `release`. */
  async holdAt(step: Step, more: { readonly cpuShare?: number } = {}): Promise<void> {
    if (step === 'reserving') return await this.#holdReserving();
    if (step === 'precopy') return await this.#holdPrecopy(more);
    const { side, at } = HOLDS[step];
    await this.#agents.holdAt(this[side], at);
    await this.begin(more);
    this.#stopped.add(await this.#agents.whenHeld(this[side]));
    if (step === 'switchover') return;
    const [source, target] = [await this.traces.qemu(this.from), await this.traces.qemu(this.to)];
    this.#watch(source?.pid, step === 'given' ? target?.pid : undefined);
  }

  async #holdPrecopy(more: { readonly cpuShare?: number }): Promise<void> {
    await this.link.slow(SLOW_BITS_PER_SECOND);
    await this.begin(more);
    await this.#phase('precopy');
    await until('the target to have a QEMU', () => this.traces.qemu(this.to));
    await this.link.silence();
  }

  async begin(more: Omit<Way, 'from' | 'to'> = {}) {
    const deadlineMs = Date.now() + MOVE_MS;
    const way = { from: this.from, to: this.to, deadlineMs, ...more };
    this.#migrationId = await this.#agents.beginMove(this.vmId, way);
  }

  /** The guest stands on both hosts: throws when one has what the other has not. */
  async expectSame(): Promise<void> {
    const [source, target] = [await this.traces.qemu(this.from), await this.traces.qemu(this.to)];
    if (source === undefined || target === undefined) throw new Error('a host has no QEMU of it');
    if ((await hashMemory(source.pid)) !== (await hashMemory(target.pid))) {
      throw new Error('The two hosts have different memory of it.');
    }
    const overlays = [this.from, this.to].map((host) => this.traces.overlay(host));
    const [one = '', other = ''] = overlays;
    if (!(await areSameDisks(one, other)))
      throw new Error('The two hosts have different disks of it.');
  }

  /** SIGKILL, whatever else was done to it; a QEMU is gone when it resolves. */
  async kill(victim: Victim): Promise<void> {
    const host = victim.startsWith('source') ? this.from : this.to;
    if (victim.endsWith('agent')) {
      this.#killed.add(host);
      this.#stopped.delete(this.#agents.agentPid(host));
      return await this.#agents.killAgent(host);
    }
    const qemu = await this.traces.qemu(host);
    if (qemu === undefined) throw new Error(`${host} has no QEMU of it`);
    this.#stopped.delete(qemu.pid);
    await killQemu(qemu, KILL_LIMIT_MS);
  }

  /** What was stopped goes on; the link stays as it is. */
  thaw(): void {
    for (const pid of this.#stopped) this.#signal(pid, 'SIGCONT');
  }

  /** Nothing stands in the way any more; killed agents are started again. */
  async release(): Promise<void> {
    this.thaw();
    await this.link.restore();
    for (const host of this.#killed) this.#agents.startAgent(host);
    for (const host of this.#killed) await this.#agents.host(host);
    this.#killed.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /**
   * Plays the control plane until nothing is in doubt: one host, or none, has the VM and reports it,
   * and nothing of it is left on the others. Answers which host has it, running.
   */
  async settled(): Promise<string | undefined> {
    const holder = await this.#untilSettled();
    for (const watch of this.#watches.values()) watch[Symbol.dispose]();
    const other = holder === this.from ? this.to : this.from;
    if (this.ranMs(other) > STILL_MS) {
      throw new Error(`It ran on ${other}, too, for ${this.ranMs(other)} ms.`);
    }
    return holder;
  }

  async #untilSettled(): Promise<string | undefined> {
    const hosts = [this.from, this.to];
    const arbiter = this.#arbiter();
    let atMs = 0;
    return await until(`VM ${this.vmId} to be settled`, async () => {
      if (performance.now() - atMs > SETTLE_EVERY_MS) {
        atMs = performance.now();
        for (const host of hosts) await this.#settle(arbiter, host);
      }
      return await this.#judge(hosts);
    }).then(
      (holder) => (holder === 'nobody' ? undefined : holder),
      async (error: unknown) => {
        throw new Error(`${String(error)}\n${await this.#describe()}`);
      },
    );
  }

  #watch(source: number | undefined, target: number | undefined): void {
    if (source === undefined) throw new Error(`${this.from} has no QEMU of it`);
    const place = busiestThread(source);
    this.#watches.set(this.from, new VcpuWatch(source, place));
    if (target !== undefined) this.#watches.set(this.to, new VcpuWatch(target, place));
  }

  /** For how long the guest ran on a host after the token was given: of whoever did not get it. */
  ranMs(host: string): number {
    return this.#watches.get(host)?.ranMs ?? 0;
  }

  async #judge(hosts: readonly string[]): Promise<string | undefined> {
    const running = hosts.filter((host) => this.#phaseAt(host) === 'idle');
    // For a moment one of the reports may be old; who really ran is `ranMs`'s to say.
    if (running.length > 1) return undefined;
    for (const host of hosts) {
      if (this.#agents.hostNow(host)?.state !== 'connected') return undefined;
      if (this.#agents.hostNow(host)?.report?.tokens?.some(({ vmId }) => vmId === this.vmId)) {
        return undefined;
      }
      const isOver = ['failed', 'stopped'].includes(this.#phaseAt(host) ?? '');
      const isClean = isOver
        ? (await this.traces.qemu(host)) === undefined
        : running.includes(host) || (await this.traces.at(host)).length === 0;
      if (!isClean) return undefined;
    }
    return running[0] ?? 'nobody';
  }

  #phaseAt(host: string): string | undefined {
    const vms = this.#agents.hostNow(host)?.report?.vms ?? [];
    return vms.find(({ vmId }) => vmId === this.vmId)?.phase;
  }

  async #settle(arbiter: TokenArbiter, name: string): Promise<void> {
    const host = this.#agents.hostNow(name);
    const token = host?.report?.tokens?.find(({ vmId }) => vmId === this.vmId);
    if (host !== undefined && token?.doubt === true) await arbiter.settle(this.vmId, host.id);
  }

  #arbiter(): TokenArbiter {
    return new TokenArbiter({
      request: (hostId: HostId, request) => this.#agents.control.fleet.request(hostId, request),
      isGone: async () => false,
      lease: () => Promise.reject(new Error('these VMs have no leases')),
      logger,
    });
  }

  async #holdReserving(): Promise<void> {
    await this.begin({
      dial: async () => this.#signal(this.#agents.agentPid(this.to), 'SIGSTOP'),
    });
    await this.#phase('reserving');
  }

  /** The target has journalled that it will never run it. */
  async refused(): Promise<void> {
    await this.#agents.migration(this.to, this.migrationId, ({ phase }) => phase === 'aborted');
  }

  /** Ended by itself, at the source, for a reason that it tells. */
  async givenUp(): Promise<string> {
    const isOver = ({ phase }: MigrationReport) => phase === 'aborted' || phase === 'done';
    const report = await this.#agents.migration(this.from, this.migrationId, isOver);
    return report.phase === 'aborted' ? (report.why ?? '') : 'it was done';
  }

  async #phase(phase: string): Promise<void> {
    await this.#agents.migration(this.from, this.migrationId, (report) => {
      if (report.phase === 'aborted' && phase !== 'aborted') {
        throw new Error(`given up before ${phase}: ${report.why}`);
      }
      return report.phase === phase;
    });
  }

  #signal(pid: number, signal: 'SIGSTOP' | 'SIGCONT'): void {
    if (signal === 'SIGSTOP') this.#stopped.add(pid);
    else this.#stopped.delete(pid);
    try {
      process.kill(pid, signal);
    } catch (error) {
      // What was stopped may have been ended by its agent.
      if (signal === 'SIGSTOP') throw error;
    }
  }

  async #describe(): Promise<string> {
    const parts = [this.from, this.to].map(async (host) => {
      const { state, report } = this.#agents.hostNow(host) ?? {};
      const moves = report?.migrations?.map(({ role, phase, why }) => ({ role, phase, why }));
      const seen = { state, phase: this.#phaseAt(host), tokens: report?.tokens, moves };
      const traces = (await this.traces.at(host)).join('\n  ');
      const said = this.#agents.said(host).slice(-25).join('\n  ');
      return `${host}: ${JSON.stringify(seen)}\n  ${traces}\n  ${said}`;
    });
    return (await Promise.all(parts)).join('\n');
  }
}
