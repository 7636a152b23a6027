/** The buyer and the EC2 provider on the fake EC2: what is bought joins as a host of the test's fleet. */
import { pino } from 'pino';
import type { DaySpend } from '../../../app/planner/fleet/day-spend.ts';
import type { FleetPolicy } from '../../../app/planner/fleet/fleet-seen.ts';
import { host, job } from '../../../app/planner/moves-world.ts';
import type { Observed } from '../../../app/planner/observed.ts';
import type { Ec2Provider } from '../../../app/providers/ec2/ec2-provider.ts';
import type { LaunchJournal } from '../../../app/providers/ec2/launch-journal.ts';
import { FleetBuyer } from '../../../app/reconciler/fleet/fleet-buyer.ts';
import type { FleetHost } from '../../../app/reconciler/ports.ts';
import type { HostPrice } from '../../../app/records/job-cost.ts';
import type { HostId } from '../../../host-agent/protocol/ids.ts';
import { openTestEc2 } from '../../contract/provider/ec2-fixture.ts';
import { type FakeEc2, startFakeEc2 } from '../../fakes/ec2/ec2-server.ts';
import { hostFacts } from '../../fixtures/protocol.ts';
import { fleetHost } from '../../fixtures/records.ts';

const { signal } = new AbortController();
const MINUTE_MS = 60_000;

export class BuyerRig {
  readonly ec2: FakeEc2;
  provider: Ec2Provider;
  buyer: FleetBuyer;
  hosts: FleetHost[] = [];
  readonly issued: string[] = [];
  readonly prices: (HostPrice & { readonly hostId: HostId })[] = [];
  limits: Partial<FleetPolicy> = {};
  nowMs = Date.now();
  picture: Observed = {
    ...{ jobs: [], hosts: [], vms: [], migrations: [], wishes: [], leftCopies: [] },
  };
  listHosts: () => readonly FleetHost[] = () => this.hosts;
  issue = () => `architect_${this.issued.length}`;
  readonly #spent = new Map<string, DaySpend>();
  #launchedMs: number | undefined;

  private constructor(ec2: FakeEc2) {
    this.ec2 = ec2;
    ec2.world.priceClock = () => this.nowMs;
    this.provider = this.#openProvider();
    this.buyer = this.openBuyer();
  }

  static async open(): Promise<BuyerRig> {
    return new BuyerRig(await startFakeEc2());
  }

  /** The control plane dies, and starts anew: what was only in memory is gone. */
  restart(): void {
    this.provider.close();
    this.provider = this.#openProvider();
    this.buyer = this.openBuyer();
  }

  openBuyer(): FleetBuyer {
    const policy = { ...this.provider.policy, minHosts: 0, maxUsdPerHour: 0.5 };
    return new FleetBuyer({
      provider: this.provider,
      policy: { ...policy, headroom: { kind: 'off' }, ...this.limits },
      tokens: {
        issue: () => {
          const token = this.issue();
          this.issued.push(token);
          return token;
        },
      },
      fleet: { hosts: () => this.listHosts() },
      evidence: {
        rememberPrice: (hostId, price) => void this.prices.push({ hostId, ...price }),
        addSpend: ({ day, usd, untilMs }) => {
          const before = this.#spent.get(day)?.usd ?? 0;
          this.#spent.set(day, { day, usd: usd + before, untilMs });
        },
        spendOn: (day) => this.#spent.get(day),
      },
      now: () => this.nowMs,
      logger: pino({ level: 'silent' }),
    });
  }

  async look(minutes = 1): Promise<void> {
    this.nowMs += minutes * MINUTE_MS;
    const { provider, picture, nowMs } = this;
    const [offers, machines] = await Promise.all([provider.offers(signal), provider.list(signal)]);
    await this.buyer.keep({ offers, machines, observed: { picture, atMs: nowMs }, signal });
  }

  join(id: string, over: Parameters<typeof fleetHost>[0] = {}): void {
    const n = this.hosts.length + 1;
    const facts = hostFacts({ capacity: { vcpus: 4, memoryMib: 14_745, diskGib: 166 } });
    this.hosts.push(fleetHost({ id: `host-${n}`, hostname: id, facts, ...over }));
    this.picture = { ...this.picture, hosts: [...this.picture.hosts, host(n)] };
  }

  alive(): readonly string[] {
    return this.ec2.world.alive().map(({ id }) => id);
  }

  async close(): Promise<void> {
    this.provider.close();
    await this.ec2.stop();
  }

  #openProvider(): Ec2Provider {
    const journal: LaunchJournal = {
      lastMs: this.#launchedMs,
      note: async (atMs) => {
        this.#launchedMs = atMs;
      },
    };
    const given = { endpoint: this.ec2.url, types: ['m8i.xlarge'], now: () => this.nowMs };
    return openTestEc2({ ...given, journal });
  }
}

export function queued(n: number) {
  return job(n, { state: 'queued', vmId: undefined });
}
