/** Stand-in hosts whose VMs move when a test says so, and whose runners are known to GitHub. */
import { runnerNameOf } from '../../../app/records/records.ts';
import type { HostId, MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import type { AgentOutcome, AgentRequest } from '../../../host-agent/protocol/messages.ts';
import { FACTS } from '../../bench/throughput/fleet-in-memory.ts';
import { FakeFleet } from '../reconciler/world.ts';
import type { StandInHosts } from './whole-intake.ts';

const CAPACITY = { vcpus: 4, memoryMib: 16_384, diskGib: 200 };

export interface BegunMove {
  readonly migrationId: MigrationId;
  readonly vmId: VmId;
  readonly from: HostId;
}

export class MovingHosts extends FakeFleet implements StandInHosts {
  /** In the order in which their sources were told to send. */
  readonly begun: BegunMove[] = [];
  override movesAtOnce = false;
  readonly #runnerOnline: (runnerName: string) => void;

  constructor(names: readonly string[], runnerOnline: (runnerName: string) => void) {
    super(names);
    this.#runnerOnline = runnerOnline;
  }

  get vmCount(): number {
    return this.vms.size;
  }

  override hosts() {
    return super.hosts().map((host) => ({ ...host, facts: { ...FACTS, capacity: CAPACITY } }));
  }

  override async request(hostId: HostId, request: AgentRequest): Promise<AgentOutcome> {
    const answer = await super.request(hostId, request);
    if (request.kind === 'assign-job') this.#runnerOnline(runnerNameOf(request.vmId));
    if (request.kind === 'send-vm') this.begun.push({ ...request, from: hostId });
    return answer;
  }

  runnerExited(runnerName: string): void {
    const vmId = [...this.vms.keys()].find((id) => runnerNameOf(id) === runnerName);
    if (vmId !== undefined) this.change(vmId, { runner: { state: 'exited', exitCode: 0 } });
  }
}
