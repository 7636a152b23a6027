/**
 * The buyer's picture: the provider's machines, what their agents say, and what the planner last saw of
 * VMs and jobs. Pure. A machine and its host are known to each other by the host's name, which the
 * provider gave it.
 */
import type { HostId } from '../../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import { admitJobs } from '../../planner/admit-jobs.ts';
import type {
  FleetMachine,
  FleetSeen,
  FleetVm,
  MachineState,
} from '../../planner/fleet/fleet-seen.ts';
import type { Observed, ObservedVm } from '../../planner/observed.ts';
import type { Offer, ProviderHost } from '../../providers/provider.ts';
import { isOpenMove, isStored } from '../../records/migration-record.ts';
import { hasReported } from '../assemble-observed.ts';
import type { FleetHost } from '../ports.ts';

const NO_ROOM = { vcpus: 0, memoryMib: 0, diskGib: 0 };

export interface FleetLook {
  readonly offers: readonly Offer[];
  readonly machines: readonly ProviderHost[];
  readonly hosts: readonly FleetHost[];
  readonly observed: Observed;
  /** Machines that were chosen to be given back. */
  readonly emptying: ReadonlySet<string>;
  /** What the buyer knew of each machine before this look. */
  readonly known: ReadonlyMap<string, KnownMachine>;
  readonly nowMs: number;
}

export interface KnownMachine {
  readonly state: MachineState;
  readonly sinceMs: number;
  readonly usdPerHour: number;
}

export function seeMachines(look: FleetLook): readonly FleetMachine[] {
  const hosts = new Map(look.hosts.map((host) => [host.hostname, host]));
  const vms = vmsByHost(look.observed);
  return look.machines
    .filter(({ state }) => state !== 'terminating')
    .map((machine) => {
      const host = hosts.get(machine.machineId);
      const before = look.known.get(machine.machineId);
      const state = stateOf(machine, host, look.emptying);
      return {
        machineId: machine.machineId,
        offerId: machine.offerId,
        usdPerHour: machine.pricePerHourUsd ?? before?.usdPerHour ?? dearest(look.offers),
        capacity: host?.facts?.capacity ?? machine.capacity ?? NO_ROOM,
        state,
        vms: host === undefined ? [] : (vms.get(host.id) ?? []),
        sinceMs: before?.state === state ? before.sinceMs : look.nowMs,
      };
    });
}

/** Jobs that have no VM yet and may have one, and VMs that wait in the store for a host. */
export function seeWaiting(observed: Observed): readonly InstanceClass[] {
  const { vms, migrations } = observed;
  const served = new Set(vms.filter(isAlive).flatMap(({ forJob }) => forJob ?? []));
  const stored = new Set(
    migrations.filter((one) => isOpenMove(one) && isStored(one)).map((one) => one.vmId),
  );
  return [
    ...admitJobs(observed)
      .admitted.filter(({ id }) => !served.has(id))
      .map((job) => job.class),
    ...vms.filter(({ id }) => stored.has(id)).map((vm) => vm.class),
  ];
}

export function rememberMachines(
  machines: FleetSeen['machines'],
): ReadonlyMap<string, KnownMachine> {
  return new Map(
    machines.map(({ machineId, state, sinceMs, usdPerHour }) => [
      machineId,
      { state, sinceMs, usdPerHour },
    ]),
  );
}

/** One that its pool turned away never serves: it counts as one that did not join. */
function stateOf(
  { machineId }: ProviderHost,
  host: FleetHost | undefined,
  emptying: ReadonlySet<string>,
): MachineState {
  if (host === undefined || host.state === 'turned-away') return 'launching';
  if (emptying.has(machineId)) return 'emptying';
  if (!hasReported(host)) return 'away';
  return host.report?.notice == null ? 'serving' : 'leaving';
}

/** What is not sold any more costs no more than the dearest that is. */
function dearest(offers: readonly Offer[]): number {
  return offers.reduce((most, { pricePerHourUsd }) => Math.max(most, pricePerHourUsd), 0);
}

/** A VM on its way counts at both ends, as in place.ts. */
function vmsByHost({ vms, migrations }: Observed): ReadonlyMap<HostId, readonly FleetVm[]> {
  const moves = new Map(migrations.filter(isOpenMove).map((move) => [move.vmId, move]));
  const byHost = new Map<HostId, FleetVm[]>();
  const put = (hostId: HostId, vm: FleetVm) => {
    const there = byHost.get(hostId);
    if (there === undefined) byHost.set(hostId, [vm]);
    else there.push(vm);
  };
  for (const vm of vms) {
    const move = moves.get(vm.id);
    if (move?.to !== undefined && move.to !== vm.hostId) put(move.to, fleetVm(vm));
    if (isAlive(vm) && (move === undefined || !isStored(move))) put(vm.hostId, fleetVm(vm));
  }
  return byHost;
}

function isAlive({ phase }: ObservedVm): boolean {
  return phase !== 'stopped' && phase !== 'failed';
}

function fleetVm({ class: size, tracking, keyed, phase, held }: ObservedVm): FleetVm {
  const isRunning = phase === 'assigned' || phase === 'busy';
  return {
    class: size,
    bytesToMove: (tracking?.bytesUnsealed ?? 0) + (tracking?.bytesInStore ?? 0),
    movable: tracking !== undefined && keyed && isRunning && !held,
  };
}
