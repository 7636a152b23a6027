/**
 * Keeps the kernel of a gateway as the control plane wants it (plan-gateway.ts) and flips VMs for
 * their moves' sources. What is done to one VM is done one thing after another; a flip never waits
 * for other VMs.
 */
import type { Logger } from 'pino';
import type { GatewaySwitch, GatewayVm } from '../net/switch-backend.ts';
import { vmNumber } from '../net/vni.ts';
import { type Refused, refused } from '../protocol/errors.ts';
import type { Flip, GatewayVmSpec, Served, VmTraffic } from '../protocol/gateway-messages.ts';
import type { HostId, VmId } from '../protocol/ids.ts';
import { indexVms, judgeFlip, planVm } from './plan-gateway.ts';

export interface DeskParts {
  readonly backend: GatewaySwitch;
  readonly logger: Logger;
}

export class GatewayDesk {
  readonly #parts: DeskParts;
  readonly #held: Map<number, GatewayVm>;
  /** By number: the last thing that is being done to the VM. */
  readonly #work = new Map<number, Promise<unknown>>();
  #desired: ReadonlyMap<number, GatewayVmSpec> = new Map();
  #round: Promise<unknown> = Promise.resolve();

  private constructor(parts: DeskParts, held: readonly GatewayVm[]) {
    this.#parts = parts;
    this.#held = new Map(held.map((vm) => [vm.number, vm]));
  }

  /** With what an earlier agent left, which passes packets on meanwhile. */
  static async open(parts: DeskParts): Promise<GatewayDesk> {
    return new GatewayDesk(parts, await parts.backend.list());
  }

  /** VMs that the kernel knows. */
  get size(): number {
    return this.#held.size;
  }

  /** Resolves when the kernel has this picture, or a newer one; a VM that cannot be served is refused. */
  async serve(vms: readonly GatewayVmSpec[]): Promise<Served['refused']> {
    const { byNumber, refused: clashes } = indexVms(vms);
    this.#desired = byNumber;
    const round = this.#round.then(() => this.#settleAll());
    this.#round = round;
    const failed = await round;
    for (const one of clashes) this.#parts.logger.error(one, 'a VM is not served');
    return [...clashes, ...failed];
  }

  /** What its switch has counted of the VM; undefined: it does not know the VM, or does not count. */
  async traffic(vmId: VmId): Promise<VmTraffic | undefined> {
    const vm = [...this.#desired.values()].find((one) => one.vmId === vmId);
    return vm && (await this.#parts.backend.account?.(vmNumber(vm.guestAddress)));
  }

  /** Acknowledged: the VM's packets go there from now on. */
  async flip(flip: Flip, asking: HostId): Promise<Refused | undefined> {
    const vm = [...this.#desired.values()].find(({ vmId }) => vmId === flip.vmId);
    if (vm === undefined) return refused('This VM is not on this gateway.');
    return await this.#alone(vmNumber(vm.guestAddress), async () => {
      const judged = judgeFlip(this.#desired.get(vmNumber(vm.guestAddress)), { flip, asking });
      if (judged.kind === 'refused') return judged;
      const { number, to } = judged;
      const held = this.#held.get(number);
      if (held?.seat?.vni === to.vni) return undefined;
      if (held === undefined || !(await this.#parts.backend.flip(number, to)))
        return refused('The VM is not in the switch yet.');
      this.#held.set(number, { ...held, seat: to, previous: held.seat });
      return undefined;
    });
  }

  async #settleAll(): Promise<Served['refused']> {
    const failed: { vmId: GatewayVmSpec['vmId']; why: string }[] = [];
    for (const number of this.#held.keys()) {
      if (!this.#desired.has(number)) await this.#alone(number, () => this.#settle(number));
    }
    for (const [number, { vmId }] of this.#desired) {
      try {
        await this.#alone(number, () => this.#settle(number));
      } catch (err) {
        this.#parts.logger.error({ err, vmId }, 'a VM is not served');
        const why = err instanceof Error ? err.message : String(err);
        failed.push({ vmId, why: why.slice(0, 500) });
      }
    }
    return failed;
  }

  async #settle(number: number): Promise<void> {
    const { backend } = this.#parts;
    const desired = this.#desired.get(number);
    if (desired === undefined) {
      await backend.removeVm(number);
      this.#held.delete(number);
      return;
    }
    const wanted = planVm(desired, this.#held.get(number));
    if (wanted === undefined) return;
    await backend.ensureVm(wanted);
    this.#held.set(number, wanted);
  }

  async #alone<T>(number: number, work: () => Promise<T>): Promise<T> {
    const mine = (this.#work.get(number) ?? Promise.resolve()).then(work);
    const over = mine.catch(() => undefined);
    this.#work.set(number, over);
    try {
      return await mine;
    } finally {
      if (this.#work.get(number) === over) this.#work.delete(number);
    }
  }
}
