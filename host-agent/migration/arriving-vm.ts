/**
 * A VM on its way to this host, from the reservation until it stands here, paused and whole. The
 * token's machine decides whether it ever runs.
 *
 *   open: worker, port ─▶ the source dials ─▶ its machine is judged ─▶ network, overlay, QEMU ─▶ loaded
 *      └──────────── anything fails, or `remove` ────────────▶ nothing is left of it here
 */
import { mkdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { PeerEndpoint, ReceiveVm } from '../protocol/migration-messages.ts';
import type { OpenPool } from '../supervisor/pool-artifacts.ts';
import type { Networks } from '../supervisor/ports.ts';
import { killQemu, type LaunchedQemu } from '../vm/launch.ts';
import type { QmpClient } from '../vm/qmp/qmp-client.ts';
import { type VmMemory, writeVmMemory } from '../vm/state-file.ts';
import type { VmStart } from '../vm/vm-driver.ts';
import { endVm } from '../vm/vm-ending.ts';
import { vmFiles } from '../vm/vm-files.ts';
import { ArrivalError, type Landing, land, memoryOf, untilLoaded } from './arrival.ts';
import { capDelayMs } from './cap-delay.ts';
import { CpuThrottle } from './cpu-throttle.ts';
import { attachmentOf, judgeMachine, MachineFacts } from './machine-facts.ts';
import type { Mobility } from './mobility.ts';
import { openingOf } from './movable-vm.ts';
import { markSwitchover } from './switchover-trace.ts';
import { thisThread } from './thread-priority.ts';
import type { DataEvent, Json } from './worker/data-commands.ts';
import { VmData } from './worker/vm-data.ts';

const KILL_LIMIT_MS = 10_000;
const LAST_WORDS_MS = 1_000;
/** The source gives up at the deadline; past this it did not. */
const GRACE_MS = 10_000;

export interface ArrivingParts {
  readonly request: ReceiveVm;
  readonly pool: OpenPool;
  readonly mobility: Mobility;
  readonly networks: Pick<Networks, 'ensure'>;
  readonly here: Pick<VmStart, 'vmDir' | 'fleet'> & { readonly place: string };
  readonly onEvent: (event: DataEvent) => void;
  readonly logger: Logger;
}

export interface ArrivedVm {
  readonly memory: VmMemory;
  readonly qemu: LaunchedQemu;
  readonly qmp: QmpClient;
  readonly data: VmData;
}

export class ArrivingVm {
  readonly #parts: ArrivingParts;
  readonly #data = new VmData();
  readonly #loaded = Promise.withResolvers<ArrivedVm>();
  #landing: Promise<Landing & { readonly memory: VmMemory }> | undefined;
  #qemu: LaunchedQemu | undefined;
  readonly #limit: NodeJS.Timeout;
  #removal: Promise<void> | undefined;

  private constructor(parts: ArrivingParts) {
    this.#parts = parts;
    this.#loaded.promise.catch(() => undefined);
    this.#data.on((event) => this.#hear(event));
    const leftMs = parts.request.deadlineMs + GRACE_MS - Date.now();
    this.#limit = setTimeout(() => this.hangUp('its deadline is over'), capDelayMs(leftMs));
    this.#limit.unref();
    void this.#data.exited.then((why) => this.#fail(`its data worker ended: ${why}`));
  }

  /** Resolves when the source can dial. Rejects with what broke; then `remove` is still to be called. */
  static async open(
    parts: ArrivingParts,
  ): Promise<{ readonly arriving: ArrivingVm; readonly peer: PeerEndpoint }> {
    const arriving = new ArrivingVm(parts);
    try {
      return { arriving, peer: await arriving.#open() };
    } catch (error) {
      await arriving.remove();
      throw error;
    }
  }

  /** It stands here, paused, and the source knows. Rejects with what kept it from that. */
  get loaded(): Promise<ArrivedVm> {
    return this.#loaded.promise;
  }

  tell(message: Json): void {
    this.#data.call('tell', message).catch(() => undefined);
  }

  hangUp(why: string): void {
    this.#fail(why);
    this.#data.call('hangUp', { why }).catch(() => undefined);
  }

  /**
   * QEMU, its limits and files, and the worker go; what was told last still leaves. Idempotent.
   * Rejects with what could not be released, when everything was tried; then it may be tried again.
   */
  remove(): Promise<void> {
    // Once only: later the same VM may be on its way here again, in the same places.
    this.#removal ??= this.#remove().catch((error: unknown) => {
      this.#removal = undefined;
      throw error;
    });
    return this.#removal;
  }

  async #remove(): Promise<void> {
    const why = 'it is not wanted here any more';
    this.#fail(why);
    clearTimeout(this.#limit);
    await this.#killQemu();
    const said = this.#data.call('hangUp', { why }).catch(() => undefined);
    await Promise.race([said, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
    await this.#data.end();
    await this.#landing?.catch(() => undefined);
    await this.#killQemu();
    const { request, here } = this.#parts;
    const spec = { vmId: request.vmId, ...here };
    const qemu = this.#qemu ?? null;
    const files = vmFiles(here.vmDir);
    const [failure] = await endVm({ spec, files, qemu, connections: undefined });
    if (failure !== undefined) throw failure;
  }

  /** First of all: whatever waits for it ends with it. */
  async #killQemu(): Promise<void> {
    if (this.#qemu !== undefined) await killQemu(this.#qemu, KILL_LIMIT_MS);
  }

  async #open(): Promise<PeerEndpoint> {
    const { request, pool, mobility, here } = this.#parts;
    const { migrationId, vmId, credential, from: hostId, deadlineMs } = request;
    await mkdir(vmFiles(here.vmDir).agentDir, { recursive: true });
    const { templateDir } = pool;
    await this.#data.call('open', await openingOf({ ...here, vmId, templateDir }, mobility));
    const { port } = await this.#data.call('receive', {
      identity: mobility.identity,
      expected: { migrationId, vmId, credential, hostId },
      ports: mobility.ports,
      deadlineMs,
    });
    return { host: mobility.address, port };
  }

  #hear(event: DataEvent): void {
    if (event.kind === 'machine') {
      this.#landing = this.#land(event.facts);
      this.#landing.catch((error: unknown) => this.hangUp(describe(error)));
    }
    if (event.kind === 'arrived') thisThread.hurry();
    if (event.kind === 'arrived') this.#settle().catch((e: unknown) => this.hangUp(describe(e)));
    if (event.kind === 'hung-up' && event.of === 'arrival') this.#fail(event.why);
    this.#parts.onEvent(event);
  }

  async #land(announced: Json): Promise<Landing & { readonly memory: VmMemory }> {
    const { request, pool, networks, here, logger } = this.#parts;
    const facts = MachineFacts.parse(announced);
    const unfit = judgeMachine(facts, request);
    if (unfit !== undefined) throw new ArrivalError(unfit.why);
    const { vmId } = request;
    const network = await networks.ensure(vmId, attachmentOf(facts, request));
    const { imageDir, templateDir } = pool;
    const spec: VmStart = {
      ...{ vmId, class: facts.class, pool: facts.pool },
      ...{ imageDir, templateDir, network, ...here },
    };
    const files = vmFiles(here.vmDir);
    const onLaunched = (qemu: LaunchedQemu) => {
      this.#qemu = qemu;
      // Until the VM is tracked here (movable-vm.ts): no guest runs in it before.
      void new CpuThrottle(spec, logger).hurry();
      void qemu.ended.then((how) => this.#fail(`its QEMU ended: ${how}`));
    };
    const landing = await land({ spec, files, facts, data: this.#data, onLaunched });
    const memory = memoryOf(spec, facts, landing.qemu);
    // Before the token can come: an agent that is restarted then finds what it has to go on with.
    await writeVmMemory(files.state, memory);
    return { ...landing, memory };
  }

  /** All of it was fed. */
  async #settle(): Promise<void> {
    const landing = await this.#landing;
    if (landing === undefined) throw new ArrivalError('It arrived before it was announced.');
    await untilLoaded(landing.qmp);
    markSwitchover('loaded');
    clearTimeout(this.#limit);
    this.#loaded.resolve({ ...landing, data: this.#data });
  }

  #fail(why: string): void {
    this.#loaded.reject(new ArrivalError(`The VM did not arrive: ${why}`));
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
