/**
 * Hosts from EC2. What exists is what EC2 lists under our tags; nothing about hosts is kept here but
 * what EC2 may not know yet.
 *
 * Invariants:
 *   - A client token buys at most one instance, whoever asks how often.
 *   - Nothing without both of our tags is listed or ended.
 *   - EC2 forgets for some seconds what it has just made: such an instance is listed all the same, so
 *     that nobody buys another in its place. What an earlier process bought is not known here: nothing is
 *     offered until EC2's lists must have it.
 */
import type { Logger } from 'pino';
import type { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import type { FleetPolicy } from '../../planner/fleet/fleet-seen.ts';
import type {
  LaunchRequest,
  NoticeListener,
  Offer,
  Provider,
  ProviderHost,
  ShutOffer,
} from '../provider.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { Ec2UnavailableError } from './ec2-errors.ts';
import { EC2_LIMITS, type Ec2Limits, Ec2Requests, type Ec2Sdk } from './ec2-requests.ts';
import { type Ec2Settings, policyOf } from './ec2-settings.ts';
import { describeInstance, listInstances } from './instances.ts';
import { type LaunchTools, launchHost, terminateInstances } from './launch.ts';
import { type LaunchJournal, mayLag } from './launch-journal.ts';
import { Ec2Market } from './market.ts';
import { type SqsSdk, watchNoticeQueue } from './notice-queue.ts';
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
  /** Unset: no earlier process can have bought anything. */
  readonly journal?: LaunchJournal;
  /** For `noticeQueue`. */
  readonly sqs?: SqsSdk | undefined;
  /** Tests shorten them. */
  readonly limits?: Ec2Limits;
}

/** Asks nothing of EC2 before it is asked something. */
export class Ec2Provider implements Provider {
  readonly name = 'ec2';
  readonly knowsEnds = true;
  readonly desiredHosts: number;
  readonly policy: FleetPolicy;
  readonly #tools: LaunchTools;
  readonly #recent = new RecentLaunches();
  readonly #launching = new Map<string, Promise<ProviderHost>>();
  /** Of each machine that was listed last. */
  #offerOf: ReadonlyMap<string, string> = new Map();
  readonly #sqs: SqsSdk | undefined;
  readonly #journal: LaunchJournal | undefined;
  #sweptAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: Ec2ProviderOptions) {
    const { sdk, settings, fleet, ownerId, pool, now, logger, limits = EC2_LIMITS } = options;
    this.desiredHosts = settings.fleet.minHosts;
    this.policy = policyOf(settings);
    const requests = new Ec2Requests(sdk, settings, limits);
    const market = new Ec2Market({ requests, settings, pool, now, logger });
    this.#sqs = options.sqs;
    this.#journal = options.journal;
    const breaker = new CircuitBreaker();
    const ours = { fleet, ownerId };
    this.#tools = { requests, market, breaker, settings, ours, pool, now, logger };
  }

  async offers(signal: AbortSignal): Promise<readonly Offer[]> {
    const { market, breaker, now } = this.#tools;
    const offers = await market.offers(signal);
    if (this.#journal !== undefined && mayLag(this.#journal, now())) return [];
    return offers.filter(({ id }) => !breaker.isOpen(id, now()));
  }

  launch(request: LaunchRequest, signal: AbortSignal): Promise<ProviderHost> {
    const { clientToken } = request;
    const running = this.#launching.get(clientToken);
    if (running !== undefined) return untilAborted(running, signal);
    const begun = this.#launch(request, signal).finally(() => this.#launching.delete(clientToken));
    this.#launching.set(clientToken, begun);
    return begun;
  }

  async list(signal: AbortSignal): Promise<readonly ProviderHost[]> {
    const { requests, ours, market, now } = this.#tools;
    const seen = (await listInstances(requests, ours, { signal })).map(({ host }) => host);
    const hosts = this.#recent.merge(seen, now());
    this.#offerOf = new Map(hosts.map(({ machineId, offerId }) => [machineId, offerId]));
    await this.#sweep(signal);
    return hosts.map((host) => describeInstance(host, market.known));
  }

  /** Only what EC2 lists under our tags, or what was bought a moment ago. */
  async terminate(machineId: string, signal: AbortSignal): Promise<void> {
    const { requests, ours, now } = this.#tools;
    const seen = await listInstances(requests, ours, { signal });
    const isListed = seen.some(({ host }) => host.machineId === machineId);
    if (!isListed && !this.#recent.has(machineId, now())) return;
    if (!isListed) {
      throw new Ec2UnavailableError(`EC2 does not know ${machineId} yet. It is ended later.`);
    }
    await terminateInstances(requests, [machineId], signal);
    this.#recent.forget(machineId);
  }

  noteReclaim(machineId: string): void {
    const offerId = this.#offerOf.get(machineId);
    if (offerId !== undefined) this.#tools.breaker.fail(offerId, RECLAIMED, this.#tools.now());
  }

  /** Does nothing where the settings name no queue. */
  async watchNotices(listener: NoticeListener, signal: AbortSignal): Promise<void> {
    const { settings, now, logger } = this.#tools;
    const { noticeQueue: queueUrl, region, endpoint } = settings;
    if (queueUrl === undefined || this.#sqs === undefined) return;
    const queue = { sqs: this.#sqs, queueUrl, region, endpoint, now, logger };
    await watchNoticeQueue(queue, listener, signal);
  }

  shutOffers(): readonly ShutOffer[] {
    return this.#tools.breaker.open(this.#tools.now());
  }

  close(): void {
    this.#tools.requests.close();
  }

  async #launch(request: LaunchRequest, signal: AbortSignal): Promise<ProviderHost> {
    const { now, logger } = this.#tools;
    await this.#journal?.note(now());
    const host = await launchHost(this.#tools, request, signal);
    this.#recent.note(host, now());
    logger.info({ machineId: host.machineId, offerId: host.offerId }, 'bought a host from EC2');
    return host;
  }

  /** What is left over costs nothing and can wait: hosts are more important. */
  async #sweep(signal: AbortSignal): Promise<void> {
    const { requests, ours, now, logger } = this.#tools;
    const nowMs = now();
    if (nowMs - this.#sweptAtMs < SWEEP_EVERY_MS) return;
    this.#sweptAtMs = nowMs;
    try {
      await sweepTemplates(requests, ours, { nowMs, signal });
    } catch (error) {
      logger.warn({ err: error }, 'old launch templates could not be deleted; it is tried again');
    }
  }
}
