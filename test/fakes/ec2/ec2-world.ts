/**
 * What the fake EC2 has: types, zones, prices, and what was made of them. Tests set what is scarce and
 * what goes wrong; nothing happens by chance or by time.
 */
import { randomBytes } from 'node:crypto';
import type { Xml } from './query-protocol.ts';

export class FakeRefusal extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export interface FakeType {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly virtualization: 'metal' | 'nested' | 'none';
  readonly manufacturer: 'Intel' | 'AMD';
}

export type Tags = ReadonlyMap<string, string>;

export interface FakeTemplate {
  readonly id: string;
  readonly name: string;
  readonly tags: Tags;
  readonly instanceTags: Tags;
  readonly nested: boolean;
  /** Decoded. */
  readonly userData: string;
  readonly httpTokens: string | undefined;
  readonly hopLimit: number | undefined;
  readonly publicAddress: boolean;
  readonly encrypted: boolean;
  readonly profile: string | undefined;
  createdAtMs: number;
}

export interface FakeInstance {
  readonly id: string;
  readonly type: string;
  readonly zone: string;
  readonly spot: boolean;
  readonly tags: Tags;
  readonly template: FakeTemplate;
  readonly launchedAtMs: number;
  state: 'pending' | 'running' | 'shutting-down' | 'terminated';
  /** How many lists will not show it yet. */
  hiddenFor: number;
}

export interface Ec2Hooks {
  launched?(instance: FakeInstance): void;
  ended?(instance: FakeInstance): void;
}

export const ZONES: ReadonlyMap<string, string> = new Map([
  ['subnet-0000000a', 'eu-central-1a'],
  ['subnet-0000000b', 'eu-central-1b'],
]);

const LONG_AGO_MS = Date.parse('2026-01-01T00:00:00Z');

/** By name. */
export const ZONE_IDS: ReadonlyMap<string, string> = new Map([
  ['eu-central-1a', 'euc1-az2'],
  ['eu-central-1b', 'euc1-az3'],
]);

const TYPES: readonly FakeType[] = [
  {
    name: 'm8i.xlarge',
    vcpus: 4,
    memoryMib: 16_384,
    virtualization: 'nested',
    manufacturer: 'Intel',
  },
  {
    name: 'm8i.2xlarge',
    vcpus: 8,
    memoryMib: 32_768,
    virtualization: 'nested',
    manufacturer: 'Intel',
  },
  {
    name: 'c8i.2xlarge',
    vcpus: 8,
    memoryMib: 16_384,
    virtualization: 'nested',
    manufacturer: 'Intel',
  },
  {
    name: 'm7i.xlarge',
    vcpus: 4,
    memoryMib: 16_384,
    virtualization: 'none',
    manufacturer: 'Intel',
  },
  {
    name: 'c5.metal',
    vcpus: 96,
    memoryMib: 196_608,
    virtualization: 'metal',
    manufacturer: 'Intel',
  },
  { name: 'm7a.xlarge', vcpus: 4, memoryMib: 16_384, virtualization: 'none', manufacturer: 'AMD' },
];

export class Ec2World {
  types: readonly FakeType[] = TYPES;
  readonly templates = new Map<string, FakeTemplate>();
  readonly instances = new Map<string, FakeInstance>();
  /** Answers by client token. */
  readonly fleets = new Map<string, { readonly asked: string; readonly answer: Xml }>();
  /** By `type/zone/spot`; 0: none. Unset: as much as is wanted. */
  readonly capacity = new Map<string, number>();
  /** By `type/zone/spot`: the error instead of an instance. */
  readonly refusals = new Map<string, string>();
  readonly spotUsd = new Map<string, number>();
  /** What each price was, and since when: noted when somebody asks. */
  readonly priceHistory = new Map<string, { readonly usd: number; readonly sinceMs: number }[]>();
  /** Of prices; tests that let hours pass set it. */
  priceClock = (): number => this.nowMs();
  /** What the price list says, by type. */
  readonly onDemandUsd = new Map<string, number>();
  /** For how many lists a new instance is not shown. */
  lag = 0;
  /** The largest page, whatever is asked for. */
  pageSize = 1_000;
  /** Actions that fail, the first ones first; `lost`: done, and never answered. */
  readonly faults: { readonly action: string; readonly code: string | 'lost' }[] = [];
  /** By the id of a zone. */
  readonly scores = new Map<string, number>();
  /** What every action fails with meanwhile. */
  outage: string | undefined;
  /** Its clock, beside this machine's. */
  clockAheadMs = 0;
  readonly seen: string[] = [];
  hooks: Ec2Hooks = {};
  newId = () => `i-${randomBytes(8).toString('hex')}`;

  nowMs(): number {
    return Date.now() + this.clockAheadMs;
  }

  priceOf(type: FakeType, zone: string): number {
    const usual = type.vcpus * 0.02 + (zone.endsWith('b') ? 0.01 : 0);
    return this.spotUsd.get(`${type.name}/${zone}`) ?? usual;
  }

  /** Oldest first: the row that held at `fromMs`, and what came later. */
  pricesSince(type: FakeType, zone: string, fromMs: number) {
    const key = `${type.name}/${zone}`;
    const known = this.priceHistory.get(key) ?? [{ usd: 9.9, sinceMs: LONG_AGO_MS }];
    const usd = this.priceOf(type, zone);
    const isNew = known.at(-1)?.usd !== usd;
    const sinceMs = known.length === 1 ? LONG_AGO_MS + 1 : this.priceClock();
    const rows = isNew ? [...known, { usd, sinceMs }] : known;
    this.priceHistory.set(key, rows);
    return rows.filter((_, at) => (rows[at + 1]?.sinceMs ?? Number.POSITIVE_INFINITY) > fromMs);
  }

  addInstance(
    made: Omit<FakeInstance, 'id' | 'state' | 'hiddenFor' | 'launchedAtMs'>,
  ): FakeInstance {
    const instance: FakeInstance = {
      ...made,
      id: this.newId(),
      state: 'pending',
      hiddenFor: this.lag,
      launchedAtMs: this.nowMs(),
    };
    this.instances.set(instance.id, instance);
    this.hooks.launched?.(instance);
    return instance;
  }

  /** EC2 takes it back: it is gone for whoever lists. */
  interrupt(id: string): void {
    const instance = this.instances.get(id);
    if (instance !== undefined) this.end(instance);
  }

  end(instance: FakeInstance): void {
    if (instance.state === 'shutting-down' || instance.state === 'terminated') return;
    instance.state = 'terminated';
    this.hooks.ended?.(instance);
  }

  alive(): readonly FakeInstance[] {
    return [...this.instances.values()].filter(({ state }) => state !== 'terminated');
  }

  /** Of instances and templates that are somebody else's. */
  addForeign(tags: Tags): FakeInstance {
    const template: FakeTemplate = {
      ...{
        id: 'lt-foreign',
        name: 'foreign',
        tags,
        instanceTags: tags,
        nested: false,
        userData: '',
      },
      ...{ httpTokens: undefined, hopLimit: undefined, publicAddress: true, encrypted: false },
      ...{ profile: undefined, createdAtMs: 0 },
    };
    return this.addInstance({
      type: 'm7i.xlarge',
      zone: 'eu-central-1a',
      spot: false,
      tags,
      template,
    });
  }
}
