/** Carries out `planHosts`: one look at the provider, and what follows from it. */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Provider } from '../providers/provider.ts';
import { hasReported } from './assemble-observed.ts';
import type { FleetBuyer, SeenByProvider } from './fleet/fleet-buyer.ts';
import type { MachineWatch } from './machine-watch.ts';
import { type HostStep, planHosts } from './plan-hosts.ts';
import type { EnrolmentTokens, Fleet, FleetHost } from './ports.ts';

const LOOK_TIMEOUT_MS = 30_000;
const LAUNCH_TIMEOUT_MS = 120_000;

export interface HostKeeperPorts {
  readonly provider: Provider;
  readonly tokens: EnrolmentTokens;
  readonly fleet: Fleet;
  /** Told of each complete list. */
  readonly watch?: MachineWatch | undefined;
  /** Of a provider whose hosts cost money. Unset: `desiredHosts` are kept. */
  readonly buyer?: FleetBuyer | undefined;
  readonly observed: SeenByProvider['observed'];
  readonly now: () => number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Throws what the provider throws when it cannot be read; a failed step is logged and left. */
export async function keepHosts(ports: HostKeeperPorts): Promise<void> {
  const look = AbortSignal.any([ports.signal, AbortSignal.timeout(LOOK_TIMEOUT_MS)]);
  const [offers, machines] = await Promise.all([
    ports.provider.offers(look),
    ports.provider.list(look),
  ]);
  ports.watch?.note(machines, ports.now());
  if (ports.buyer !== undefined) {
    const { observed, signal } = ports;
    return await ports.buyer.keep({ offers, machines, observed, signal });
  }
  const steps = planHosts(
    {
      desiredHosts: ports.provider.desiredHosts,
      offers,
      machines,
      emptyMachines: emptyMachines(ports.fleet),
      leavingMachines: leavingMachines(ports.fleet),
    },
    freshTokens(),
  );
  await Promise.all(steps.map((step) => executeHostStep(ports, step)));
}

/** A host is known to be a machine by its host name; one that is not is never ended. */
function emptyMachines(fleet: Fleet): ReadonlySet<string> {
  return new Set(
    fleet
      .hosts()
      .filter((host) => hasReported(host) && host.report?.vms.length === 0 && !expectsVm(host))
      .map((host) => host.hostname),
  );
}

/** A VM is on its way there or away. */
function expectsVm({ report }: FleetHost): boolean {
  return report?.migrations?.some(({ endedAtMs }) => endedAtMs === null) ?? false;
}

function leavingMachines(fleet: Fleet): ReadonlySet<string> {
  const leaving = fleet.hosts().filter((host) => hasReported(host) && host.report?.notice != null);
  return new Set(leaving.map((host) => host.hostname));
}

async function executeHostStep(ports: HostKeeperPorts, step: HostStep): Promise<void> {
  const signal = AbortSignal.any([ports.signal, AbortSignal.timeout(LAUNCH_TIMEOUT_MS)]);
  try {
    if (step.kind === 'terminate') {
      await ports.provider.terminate(step.machineId, signal);
      ports.logger.info({ machineId: step.machineId }, 'surplus host ended');
      return;
    }
    const { offerId, clientToken } = step;
    const enrolmentToken = ports.tokens.issue();
    const host = await ports.provider.launch({ offerId, clientToken, enrolmentToken }, signal);
    ports.logger.info({ machineId: host.machineId, offerId }, 'host launched');
  } catch (error) {
    ports.logger.error(
      { err: error, step: step.kind },
      'host step failed; the next look repeats it',
    );
  }
}

function* freshTokens(): Generator<string> {
  while (true) yield randomUUID();
}
