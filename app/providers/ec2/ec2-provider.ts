/**
 * Hosts from EC2. What exists is what EC2 lists under our tags; nothing about hosts is kept here but
 * what EC2 may not know yet.
 *
 * Invariants:
 *   - A client token buys at most one instance, whoever asks how often.
 *   - Nothing without both of our tags is listed or ended.
 *   - EC2 forgets for some seconds what it has just made: such an instance is listed all the same, so
 *     that nobody buys another in its place.
 */
import type { Logger } from 'pino';
import type { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import type { LaunchRequest, Provider, ProviderHost } from '../provider.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { Ec2UnavailableError } from './ec2-errors.ts';
import { EC2_LIMITS, type Ec2Limits, Ec2Requests, type Ec2Sdk } from './ec2-requests.ts';
import { type Ec2Settings, policyOf } from './ec2-settings.ts';
import { describeInstance, listInstances } from './instances.ts';
import { launchHost, terminateInstances } from './launch.ts';
import { Ec2Market } from './market.ts';
import { RecentLaunches } from './recent-launches.ts';
import { sweepTemplates } from './sweep-templates.ts';
import { untilAborted } from './until-aborted.ts';

const SWEEP_EVERY_MS = 600_000;
const RECLAIMED = 'EC2 took one of these back';

export interface Ec2ProviderOptions {
  readonly sdk: Ec2Sdk;
  readonly settings: Ec2Settings;
  readonly fleet: string;
  /** Of this control plane's data folder, for good. */
  readonly ownerId: string;
  readonly pool: Pick<PoolSpec, 'id' | 'template' | 'arch' | 'accelerator' | 'cpuVendor'>;
  readonly now: () => number;
  readonly logger: Logger;
  /** Tests shorten them. */
  readonly limits?: Ec2Limits;
}

export interface Ec2Provider extends Provider {
  close(): void;
}

/** Asks nothing of EC2 before it is asked something. */
export function createEc2Provider(options: Ec2ProviderOptions): Ec2Provider {
  const { settings, fleet, ownerId, pool, now, logger } = options;
  const requests = new Ec2Requests(options.sdk, settings, options.limits ?? EC2_LIMITS);
  const market = new Ec2Market({ requests, settings, pool, now });
  const breaker = new CircuitBreaker();
  const recent = new RecentLaunches();
  const ours = { fleet, ownerId };
  const tools = { requests, market, breaker, settings, ours, pool, now, logger };
  const launching = new Map<string, Promise<ProviderHost>>();
  const offerOf = new Map<string, string>();
  let sweptAtMs = Number.NEGATIVE_INFINITY;

  const list = async (signal: AbortSignal): Promise<readonly ProviderHost[]> => {
    const seen = await listInstances(requests, ours, { signal });
    const hosts = recent.merge(
      seen.map(({ host }) => host),
      now(),
    );
    const offers = market.known;
    offerOf.clear();
    for (const { machineId, offerId } of hosts) offerOf.set(machineId, offerId);
    return hosts.map((host) => describeInstance(host, offers));
  };

  const launch = async (request: LaunchRequest, signal: AbortSignal) => {
    const host = await launchHost(tools, request, signal);
    recent.note(host, now());
    logger.info({ machineId: host.machineId, offerId: host.offerId }, 'bought a host from EC2');
    return host;
  };

  return {
    name: 'ec2',
    desiredHosts: settings.fleet.minHosts,
    knowsEnds: true,
    policy: policyOf(settings),
    offers: async (signal) => {
      const offers = await market.offers(signal);
      return offers.filter(({ id }) => !breaker.isOpen(id, now()));
    },
    launch: (request, signal) => {
      const running = launching.get(request.clientToken);
      if (running !== undefined) return untilAborted(running, signal);
      const begun = launch(request, signal).finally(() => launching.delete(request.clientToken));
      launching.set(request.clientToken, begun);
      return begun;
    },
    list: async (signal) => {
      const nowMs = now();
      if (nowMs - sweptAtMs >= SWEEP_EVERY_MS) {
        sweptAtMs = nowMs;
        await sweepTemplates(requests, ours, { nowMs, signal });
      }
      return await list(signal);
    },
    terminate: async (machineId, signal) => {
      await endOurs(machineId, signal);
    },
    noteReclaim: (machineId) => {
      const offerId = offerOf.get(machineId);
      if (offerId !== undefined) breaker.fail(offerId, RECLAIMED, now());
    },
    shutOffers: () => breaker.open(now()),
    close: () => requests.close(),
  };

  /** Only what EC2 lists under our tags, or what was bought a moment ago. */
  async function endOurs(machineId: string, signal: AbortSignal): Promise<void> {
    const known = (await listInstances(requests, ours, { signal })).some(
      ({ host }) => host.machineId === machineId,
    );
    if (!known && !recent.has(machineId, now())) return;
    if (!known)
      throw new Ec2UnavailableError(`EC2 does not know ${machineId} yet. It is ended later.`);
    await terminateInstances(requests, [machineId], signal);
    recent.forget(machineId);
  }
}
