/** What the REST API shows, read from where each thing's truth is. */
import { refused } from '../host-agent/protocol/errors.ts';
import type { AgentEndpoint } from './agents/agent-endpoint.ts';
import type { EnrolmentStore } from './agents/enrolment.ts';
import type { AgentFleet } from './agents/fleet.ts';
import type { GatewayFleet } from './agents/gateway-fleet.ts';
import { type UnderlayDesk, WHY_UNDECLARED } from './agents/underlay-desk.ts';
import { createOperations, readMoves } from './api/operations.ts';
import type { ApiPorts, HealthCheck } from './api/ports.ts';
import { readRecords } from './api/record-readers.ts';
import type { GatewayKeeper } from './gateways/gateway-keeper.ts';
import type { IntakeQueue } from './intake/queue.ts';
import type { Provider } from './providers/provider.ts';
import type { FleetBuyer } from './reconciler/fleet/fleet-buyer.ts';
import type { Evidence } from './reconciler/ports.ts';
import { costOf } from './records/job-cost.ts';
import type { Lease } from './records/lease.ts';
import type { RecordStore } from './records/record-store.ts';
import type { OpenRedis } from './redis/open-redis.ts';

export interface ApiSources {
  readonly store: RecordStore;
  readonly evidence: Evidence;
  readonly fleet: AgentFleet;
  readonly gateways: GatewayFleet;
  readonly underlay: UnderlayDesk;
  readonly keeper: Pick<GatewayKeeper, 'roles' | 'takeOver' | 'offerPort' | 'traffic'>;
  readonly enrolment: EnrolmentStore;
  readonly redis: OpenRedis;
  readonly lease: Lease;
  readonly queue: IntakeQueue;
  readonly endpoint: AgentEndpoint;
  /** The reconciler looks at what was asked for. */
  readonly nudge: () => void;
  readonly pool: ApiPorts['pool'];
  readonly waiting: ApiPorts['waiting'];
  readonly market: { readonly provider: Provider; readonly buyer: FleetBuyer | undefined };
  readonly version: string;
}

export function createApiPorts(sources: ApiSources): ApiPorts {
  const { store, evidence, fleet, gateways, keeper, enrolment, underlay } = sources;
  const records = readRecords(store, evidence);
  return {
    jobs: records,
    vms: records,
    timelines: evidence,
    costs: {
      costOf: (vm, moves) => costOf(vm, moves, (host) => evidence.pricesOf(host), Date.now()),
    },
    hosts: fleet,
    gateways: {
      gateways: () => gateways.gateways(),
      roles: () => keeper.roles(),
      takeOver: (id) => keeper.takeOver(id),
      offerPort: (id, wish) => keeper.offerPort(id, wish),
      traffic: (vm) => keeper.traffic(vm),
    },
    moves: readMoves(store, evidence),
    operations: createOperations({ evidence, now: Date.now, nudge: sources.nudge }),
    door: {
      issueToken: (ttlMs, role) => {
        if (role === 'gateway' && !underlay.mayHaveGateways) return refused(WHY_UNDECLARED);
        const nowMs = Date.now();
        const token = enrolment.issueEnrolmentToken({ ttlMs, role, nowMs });
        return { kind: 'issued', token, expiresAtMs: nowMs + ttlMs };
      },
      revoke: (hostId) => {
        const known = enrolment.revoke(hostId, Date.now());
        if (known) for (const one of [fleet, gateways]) one.expel(hostId);
        underlay.changed();
        return known;
      },
    },
    pool: sources.pool,
    waiting: sources.waiting,
    market: readMarket(sources.market),
    readiness: { check: () => checkReadiness(sources) },
    version: sources.version,
  };
}

function readMarket({ provider, buyer }: ApiSources['market']): ApiPorts['market'] {
  return {
    look: async (signal) => ({
      provider: provider.name,
      offers: await provider.offers(signal),
      shut: provider.shutOffers?.() ?? [],
      usdPerHour: buyer?.usdPerHour ?? null,
      maxUsdPerHour: provider.policy?.maxUsdPerHour ?? null,
      usdToday: buyer?.usdToday ?? null,
      maxUsdPerDay: finite(provider.policy?.maxUsdPerDay),
      decisions: buyer?.decisions ?? [],
      starts: buyer?.starts ?? [],
    }),
  };
}

function finite(limit: number | undefined): number | null {
  return limit === undefined || !Number.isFinite(limit) ? null : limit;
}

async function checkReadiness(sources: ApiSources): Promise<readonly HealthCheck[]> {
  const { redis, lease, queue, endpoint } = sources;
  const ready = await redis.connections.isReady();
  const waiting = ready ? await queue.depth() : undefined;
  return [
    {
      name: 'redis',
      ready,
      detail: ready ? `${waiting} deliveries wait` : 'Redis is away or cannot write.',
    },
    {
      name: 'lease',
      ready: true,
      detail: lease.held
        ? 'This process reconciles.'
        : 'Another process reconciles, or Redis is away.',
    },
    { name: 'agents-endpoint', ready: true, detail: `Listens on port ${endpoint.port}.` },
  ];
}
