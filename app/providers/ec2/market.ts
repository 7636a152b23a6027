/**
 * What EC2 sells here and now. Types and zones change rarely and are read once a day, prices every few
 * minutes; one reading at a time, and everybody who asks meanwhile gets its result. When prices cannot
 * be read, the last ones stand for a while: a fleet that buys at old prices beats one that stands still.
 */
import type { _InstanceType } from '@aws-sdk/client-ec2';
import type { Logger } from 'pino';
import { askPriceList } from './ask-price-list.ts';
import { composeOffers, type Ec2Offer, type SpotPrice } from './compose-offers.ts';
import type { Ec2Requests } from './ec2-requests.ts';
import { type Ec2Settings, matchesAny } from './ec2-settings.ts';
import { canRunPool, type HostType, type PoolNeeds, readHostType } from './host-type.ts';
import { KeptReading } from './kept-reading.ts';
import { collectPages } from './pages.ts';
import { readSpotPrices } from './spot-prices.ts';
import { keepReclaims, keepScores } from './spot-risk.ts';
import { untilAborted } from './until-aborted.ts';

const TYPES_KEPT_MS = 86_400_000;
const PRICE_LIST_REST_MS = 600_000;
const PRICES_KEPT_MS = 180_000;
const PRICES_STALE_MS = 3_600_000;
const PRICE_WINDOW_MS = 3_600_000;
const TYPES_PER_PAGE = 100;
const TYPES_PER_PRICE_CALL = 100;

interface Catalogue {
  readonly types: readonly HostType[];
  /** The SDK's own type of a name, which calls take: it is what EC2 said, known to the SDK or not. */
  readonly names: ReadonlyMap<string, _InstanceType>;
  /** By zone. */
  readonly subnets: ReadonlyMap<string, string>;
  /** By zone: names of zones differ from account to account, ids do not. */
  readonly zoneIds: ReadonlyMap<string, string>;
  readonly readAtMs: number;
}

export interface MarketOptions {
  readonly requests: Ec2Requests;
  readonly settings: Ec2Settings;
  readonly pool: PoolNeeds;
  readonly now: () => number;
  readonly logger: Logger;
}

export class Ec2Market {
  readonly #options: MarketOptions;
  readonly #priceList: KeptReading<Readonly<Record<string, number>>>;
  readonly #reclaims: KeptReading<ReadonlyMap<string, number>>;
  readonly #scores: KeptReading<ReadonlyMap<string, number>>;
  #catalogue: Catalogue | undefined;
  #offers: { readonly list: readonly Ec2Offer[]; readonly readAtMs: number } | undefined;
  #reading: Promise<readonly Ec2Offer[]> | undefined;

  constructor(options: MarketOptions) {
    this.#options = options;
    this.#priceList = keepPriceList(options);
    this.#reclaims = keepReclaims(options);
    this.#scores = keepScores(options, () => this.#spotNames());
  }

  /** The cheapest per vCPU first. Bounded by MAX_OFFERS. */
  async offers(signal: AbortSignal): Promise<readonly Ec2Offer[]> {
    signal.throwIfAborted();
    const known = this.#offers;
    const ageMs = this.#options.now() - (known?.readAtMs ?? Number.NEGATIVE_INFINITY);
    if (known !== undefined && ageMs < PRICES_KEPT_MS) return known.list;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    try {
      return await untilAborted(this.#reading, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (known !== undefined && ageMs < PRICES_STALE_MS) return known.list;
      throw error;
    }
  }

  /** What was read last, without asking. */
  get known(): readonly Ec2Offer[] {
    return this.#offers?.list ?? [];
  }

  /** Undefined: this zone has no subnet of ours. */
  subnetIn(zone: string): string | undefined {
    return this.#catalogue?.subnets.get(zone);
  }

  nameOf(type: HostType): _InstanceType | undefined {
    return this.#catalogue?.names.get(type.name);
  }

  async #read(): Promise<readonly Ec2Offer[]> {
    const { settings, now } = this.#options;
    const catalogue = await this.#readCatalogue();
    const { types, subnets } = catalogue;
    const names = types.filter(({ spot }) => spot).map(({ name }) => name);
    const list = composeOffers({
      types,
      zones: [...subnets.keys()].sort(),
      spotPrices: await this.#readPrices(names),
      onDemandUsdPerHour: { ...(await this.#priceList.get()), ...settings.onDemandUsdPerHour },
      diskGib: settings.diskGib,
      reclaims: await this.#reclaims.get(),
      scores: await this.#readScores(catalogue),
    });
    this.#offers = { list, readAtMs: now() };
    return list;
  }

  async #readCatalogue(): Promise<Catalogue> {
    const readAtMs = this.#options.now();
    const known = this.#catalogue;
    if (known !== undefined && readAtMs - known.readAtMs < TYPES_KEPT_MS) return known;
    const [offered, places] = await Promise.all([this.#readTypes(), this.#readSubnets()]);
    this.#catalogue = { ...offered, ...places, readAtMs };
    return this.#catalogue;
  }

  async #readTypes(): Promise<Pick<Catalogue, 'types' | 'names'>> {
    const { requests, settings, pool } = this.#options;
    const raw = await requests.run('read the instance types', undefined, async (call) => {
      const pages = call.sdk.paginateDescribeInstanceTypes(
        { client: call.client, pageSize: TYPES_PER_PAGE },
        {},
        { abortSignal: call.abortSignal },
      );
      return await collectPages(pages, ({ InstanceTypes }) => InstanceTypes);
    });
    const names = raw.flatMap(({ InstanceType: name }) =>
      name === undefined ? [] : [[String(name), name] as const],
    );
    const types = raw
      .flatMap((one) => readHostType(one) ?? [])
      .filter((type) => {
        const { minVcpus, maxVcpus } = settings;
        const isSized = type.vcpus >= minVcpus && type.vcpus <= maxVcpus;
        return canRunPool(type, pool) && isSized && matchesAny(type.name, settings.types);
      });
    return { types, names: new Map(names) };
  }

  #spotNames(): readonly _InstanceType[] {
    const { types = [], names } = this.#catalogue ?? {};
    return types.flatMap((type) => (type.spot ? (names?.get(type.name) ?? []) : [])).sort();
  }

  async #readScores({ zoneIds }: Catalogue): Promise<ReadonlyMap<string, number>> {
    const scores = await this.#scores.get();
    return new Map(
      [...zoneIds].flatMap(([zone, id]): [string, number][] => {
        const score = scores.get(id);
        return score === undefined ? [] : [[zone, score]];
      }),
    );
  }

  async #readSubnets(): Promise<Pick<Catalogue, 'subnets' | 'zoneIds'>> {
    const { requests, settings } = this.#options;
    const answer = await requests.run('read the subnets', undefined, (call) =>
      call.client.send(new call.sdk.DescribeSubnetsCommand({ SubnetIds: [...settings.subnets] }), {
        abortSignal: call.abortSignal,
      }),
    );
    const subnets = new Map<string, string>();
    const zoneIds = new Map<string, string>();
    for (const subnet of answer.Subnets ?? []) {
      const { AvailabilityZone: zone, SubnetId: id, AvailabilityZoneId: zoneId } = subnet;
      if (zone !== undefined && id !== undefined) subnets.set(zone, id);
      if (zone !== undefined && zoneId !== undefined) zoneIds.set(zone, zoneId);
    }
    return { subnets, zoneIds };
  }

  async #readPrices(names: readonly string[]): Promise<readonly SpotPrice[]> {
    const sinceMs = this.#options.now() - PRICE_WINDOW_MS;
    const rows: unknown[] = [];
    for (let from = 0; from < names.length; from += TYPES_PER_PRICE_CALL)
      rows.push(
        ...(await this.#readPriceRows(names.slice(from, from + TYPES_PER_PRICE_CALL), sinceMs)),
      );
    return readSpotPrices(rows, sinceMs);
  }

  async #readPriceRows(names: readonly string[], sinceMs: number): Promise<readonly unknown[]> {
    const { requests } = this.#options;
    return await requests.run('read the spot prices', undefined, async (call) => {
      const pages = call.sdk.paginateDescribeSpotPriceHistory(
        { client: call.client },
        {
          Filters: [{ Name: 'instance-type', Values: [...names] }],
          ProductDescriptions: ['Linux/UNIX'],
          StartTime: new Date(sinceMs),
        },
        { abortSignal: call.abortSignal },
      );
      return await collectPages(pages, ({ SpotPriceHistory }) => SpotPriceHistory);
    });
  }
}

/** Prices on demand hardly ever change. Without them, what the settings name is all that is known. */
function keepPriceList({ requests, settings, now, logger }: MarketOptions) {
  return new KeptReading<Readonly<Record<string, number>>>({
    what: 'AWS’s price list',
    before: {},
    read: async () => {
      if (!settings.priceList) return {};
      return await requests.run('read the price list', undefined, (call) =>
        askPriceList(call, settings),
      );
    },
    ...{ keptMs: TYPES_KEPT_MS, restMs: PRICE_LIST_REST_MS, now, logger },
  });
}
