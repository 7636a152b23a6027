/** Hosts that answer as host-agents do, at once: what is measured is the control plane. */
import type { Fleet, FleetHost } from '../../../app/reconciler/ports.ts';
import { runnerNameOf } from '../../../app/records/records.ts';
import { HostId, type VmId } from '../../../host-agent/protocol/ids.ts';
import type { AgentOutcome, AgentRequest, StartVm } from '../../../host-agent/protocol/messages.ts';
import type { VmReport } from '../../../host-agent/protocol/vm-report.ts';
import { hostFacts, pool, vmReport } from '../../fixtures/protocol.ts';

export const POOL = pool({ accelerator: 'kvm' });
export const FACTS = hostFacts({
  accelerator: 'kvm',
  capacity: { vcpus: 16, memoryMib: 65_536, diskGib: 1_000 },
});
const BLANK_VM = vmReport({ accelerator: 'kvm' });

interface Host {
  readonly vms: Map<VmId, VmReport>;
  shown: FleetHost;
}

export class FleetInMemory implements Fleet {
  readonly #hosts = new Map<HostId, Host>();
  readonly #hostOfRunner = new Map<string, { readonly hostId: HostId; readonly vmId: VmId }>();
  readonly #listeners = new Set<() => void>();
  readonly #runnerOnline: (runnerName: string) => void;

  constructor(count: number, runnerOnline: (runnerName: string) => void) {
    this.#runnerOnline = runnerOnline;
    for (let n = 0; n < count; n += 1) {
      const id = HostId.parse(`h-${String(n).padStart(4, '0')}`);
      this.#hosts.set(id, { vms: new Map(), shown: showHost(id, []) });
    }
  }

  get vmCount(): number {
    return [...this.#hosts.values()].reduce((sum, { vms }) => sum + vms.size, 0);
  }

  hosts(): readonly FleetHost[] {
    return [...this.#hosts.values()].map(({ shown }) => shown);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async request(hostId: HostId, request: AgentRequest): Promise<AgentOutcome> {
    if (request.kind === 'fetch-artifacts' || request.kind === 'use-gateways')
      return { kind: 'taken' };
    const { vmId } = request;
    const runnerName = runnerNameOf(vmId);
    if (request.kind === 'start-vm') this.#put(hostId, startedVm(request));
    if (request.kind === 'assign-job') {
      this.#hostOfRunner.set(runnerName, { hostId, vmId });
      const runner = { state: 'running' } as const;
      const assigned = { phase: 'assigned', assignedJob: request.jobId, runner } as const;
      this.#change(hostId, vmId, { ...assigned, runnerStartedAtMs: Date.now() });
      this.#runnerOnline(runnerName);
    }
    if (request.kind === 'stop-vm') {
      this.#change(hostId, vmId, { phase: 'stopped', why: request.why, stoppedAtMs: Date.now() });
    }
    if (request.kind === 'forget-vm') this.#forget(hostId, vmId);
    return { kind: 'taken' };
  }

  runnerExited(runnerName: string): void {
    const at = this.#hostOfRunner.get(runnerName);
    this.#hostOfRunner.delete(runnerName);
    if (at !== undefined) {
      this.#change(at.hostId, at.vmId, { runner: { state: 'exited', exitCode: 0 } });
    }
  }

  #change(hostId: HostId, vmId: VmId, change: Partial<VmReport>): void {
    const vm = this.#hosts.get(hostId)?.vms.get(vmId);
    if (vm !== undefined) this.#put(hostId, { ...vm, ...change });
  }

  #put(hostId: HostId, vm: VmReport): void {
    this.#hosts.get(hostId)?.vms.set(vm.vmId, vm);
    this.#report(hostId);
  }

  #forget(hostId: HostId, vmId: VmId): void {
    this.#hosts.get(hostId)?.vms.delete(vmId);
    this.#report(hostId);
  }

  #report(hostId: HostId): void {
    const host = this.#hosts.get(hostId);
    if (host !== undefined) host.shown = showHost(hostId, [...host.vms.values()]);
    for (const listener of this.#listeners) listener();
  }
}

function showHost(id: HostId, vms: readonly VmReport[]): FleetHost {
  const artifacts = [POOL.image, POOL.template];
  return {
    id,
    hostname: id,
    state: 'connected',
    turnedAwayWhy: undefined,
    facts: FACTS,
    stateSinceMs: 0,
    report: { type: 'report', seq: 1, sentAtMs: 0, artifacts, vms: [...vms], notice: null },
  };
}

function startedVm({ vmId, class: size }: StartVm): VmReport {
  const nowMs = Date.now();
  return { ...BLANK_VM, vmId, class: size, startedAtMs: nowMs, guestReadyAtMs: nowMs };
}
