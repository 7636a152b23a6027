/**
 * The switch: what a flow gets through it beside nft's NAT, what its programs cost per packet, whether
 * many flows cost more, how long a flip and a takeover take. Rounds of what is compared alternate.
 */
import type { SwitchWorld } from '../integration/switch/switch-world.ts';
import { WireguardWorld } from '../integration/switch/wireguard-world.ts';
import type { Bench, BenchContext, BenchResult, BenchTable, Target } from './bench.ts';
import { measureBpfFlips, measureKernelFlips } from './network/flips.ts';
import { type Direction, measureFlow, openRouted, openSwitched } from './network/flows-through.ts';
import {
  GATEWAY_PROGRAMS,
  gatewayInstructions,
  measureHostPrograms,
  openGatewayOfFlows,
  type PacketPair,
  type ProgramCost,
} from './network/program-costs.ts';
import { measureTakeovers, type Takeovers } from './network/takeovers.ts';
import { formatNumber, summarize } from './statistics.ts';

const ROUNDS = 7;
const DIRECTIONS: readonly Direction[] = ['from the guest', 'to the guest'];
const FLOWS = [100, 100_000] as const;
const LOOKUP_ROUNDS = 20;
const LOOKUPS = 1_000;
const COST_ROUNDS = 50;
const LEAST_SHARE = 0.9;
const LONGEST_FLIP_US = 10;
const TAKEOVERS = 6;
const LONGEST_TAKEOVER_MS = 1_000;

const WAYS = {
  bpf: { title: 'programs, VXLAN', open: () => openSwitched('bpf') },
  wireguard: {
    title: 'programs, VXLAN, WireGuard',
    open: () => openSwitched('bpf', () => WireguardWorld.open()),
  },
  kernel: { title: 'nft NAT, VXLAN', open: () => openSwitched('kernel') },
  routed: { title: 'nft NAT, no encapsulation', open: openRouted },
} as const;
type WayName = keyof typeof WAYS;
const WAY_NAMES = ['bpf', 'wireguard', 'kernel', 'routed'] as const;

type Rates = Record<Direction, Record<WayName, number[]>>;
const PACKETS = { first: 'a flow by chance', next: 'its next packet' } as const;
type Packet = keyof typeof PACKETS;
const PACKET_NAMES = ['first', 'next'] as const;
interface Lookups {
  readonly inward: Record<number, PacketPair[]>;
  readonly outward: Record<number, PacketPair[]>;
}

export const networkBench: Bench = {
  name: 'network',
  about: 'the switch: throughput, cost per packet, many flows, flip, takeover',
  run: async (context) => {
    const rates = await measureRates(context);
    context.progress(`packets of one in ${FLOWS.join(' and ')} flows`);
    const lookups = measureLookups();
    context.signal.throwIfAborted();
    context.progress('programs, packet by packet');
    const costs = [...measureHostPrograms(COST_ROUNDS), ...gatewayCosts(lookups)];
    context.progress('flips');
    const flips = { bpf: await measureBpfFlips(), kernel: await measureKernelFlips() };
    context.signal.throwIfAborted();
    context.progress('takeovers by a standby gateway');
    const takeovers = await measureTakeovers(TAKEOVERS);
    return describe({ rates, lookups, costs, flips, takeovers });
  },
};

async function measureRates({ signal, progress }: BenchContext): Promise<Rates> {
  const rates: Rates = {
    'from the guest': { bpf: [], wireguard: [], kernel: [], routed: [] },
    'to the guest': { bpf: [], wireguard: [], kernel: [], routed: [] },
  };
  const worlds: (readonly [WayName, SwitchWorld])[] = [];
  try {
    for (const name of WAY_NAMES) worlds.push([name, await WAYS[name].open()]);
    for (let round = 0; round < ROUNDS; round += 1) {
      progress(`one flow at full speed, round ${round + 1} of ${ROUNDS}`);
      for (const direction of DIRECTIONS) {
        for (const [name, world] of worlds) {
          rates[direction][name].push(await measureFlow(world, direction));
          signal.throwIfAborted();
        }
      }
    }
    return rates;
  } finally {
    await Promise.all(worlds.map(([, world]) => world.destroy()));
  }
}

function measureLookups(): Lookups {
  const none = () => Object.fromEntries(FLOWS.map((flows): [number, PacketPair[]] => [flows, []]));
  const lookups: Lookups = { inward: none(), outward: none() };
  const gateways = FLOWS.map(openGatewayOfFlows);
  try {
    for (let round = 0; round < LOOKUP_ROUNDS; round += 1) {
      for (const gateway of gateways) {
        for (const way of ['inward', 'outward'] as const) {
          lookups[way][gateway.flows]?.push(...gateway[way](LOOKUPS));
        }
      }
    }
    return lookups;
  } finally {
    for (const gateway of gateways) gateway.close();
  }
}

function gatewayCosts({ inward, outward }: Lookups): readonly ProgramCost[] {
  const instructions = gatewayInstructions();
  const few = { 'gateway-vxlan': outward[FLOWS[0]], 'gateway-outside': inward[FLOWS[0]] };
  return GATEWAY_PROGRAMS.map((program) => ({
    program,
    instructions: instructions[program],
    nanoseconds: few[program]?.map(({ first }) => first) ?? [],
  }));
}

interface Measured {
  readonly rates: Rates;
  readonly lookups: Lookups;
  readonly costs: readonly ProgramCost[];
  readonly flips: { readonly bpf: readonly number[]; readonly kernel: readonly number[] };
  readonly takeovers: Takeovers;
}

function describe(measured: Measured): BenchResult {
  const { rates, lookups, costs, flips, takeovers } = measured;
  const tables = [describeRates(rates), describeLookups(lookups), describeCosts(costs)];
  const flipSummary = { bpf: summarize(flips.bpf), kernel: summarize(flips.kernel) };
  const flipTable = {
    title: 'flip of one VM at the gateway, µs (by nft and routes: asked in another process)',
    headings: ['', 'p50', 'p99', 'longest'],
    rows: (['bpf', 'kernel'] as const).map((name) => {
      const { p50, p99, max } = flipSummary[name];
      return [WAYS[name].title, ...[p50, p99, max].map(formatNumber)];
    }),
  };
  return {
    tables: [...tables, flipTable],
    targets: [
      ...rateTargets(rates),
      ...lookupTargets(lookups),
      {
        what: 'flip',
        wanted: `≤ ${LONGEST_FLIP_US} µs`,
        measured: `p50 ${formatNumber(flipSummary.bpf.p50)} µs, p99 ${formatNumber(flipSummary.bpf.p99)} µs`,
        met: flipSummary.bpf.p50 <= LONGEST_FLIP_US,
      },
      takeoverTarget(takeovers),
    ],
    figures: {
      gbitPerSecond: rates,
      lookupNs: PACKET_NAMES.flatMap((packet) =>
        FLOWS.map((flows) => ({
          ...{ packet, flows },
          inward: timesOf(lookups.inward, flows, packet),
          outward: timesOf(lookups.outward, flows, packet),
        })),
      ),
      programs: costs.map(({ nanoseconds, ...cost }) => ({ ...cost, ns: summarize(nanoseconds) })),
      flipUs: flipSummary,
      takeovers,
    },
  };
}

function takeoverTarget({ silencesMs, connections, broken }: Takeovers): Target {
  const { p50, max } = summarize(silencesMs);
  return {
    what: 'gateway takeover, from the loss of its machine',
    wanted: `≤ ${LONGEST_TAKEOVER_MS} ms, established flows alive`,
    measured: `p50 ${formatNumber(p50)} ms, longest ${formatNumber(max)} ms; ${connections - broken} of ${connections} connections alive`,
    met: max <= LONGEST_TAKEOVER_MS && broken === 0,
  };
}

function describeRates(rates: Rates): BenchTable {
  return {
    title: `one TCP flow guest ↔ host ↔ gateway ↔ outside, all on this machine; Gbit/s, p50 of ${ROUNDS} rounds (lowest–highest)`,
    headings: ['', ...DIRECTIONS],
    rows: WAY_NAMES.map((name) => [
      WAYS[name].title,
      ...DIRECTIONS.map((direction) => {
        const { p50, min, max } = summarize(rates[direction][name]);
        return `${formatNumber(p50)} (${formatNumber(min)}–${formatNumber(max)})`;
      }),
    ]),
  };
}

/** Of each round's two figures, which are neighbours in time. */
function shareOf(rates: Rates, direction: Direction, name: 'kernel' | 'routed'): number {
  const { bpf } = rates[direction];
  const other = rates[direction][name];
  return summarize(bpf.map((rate, round) => rate / (other[round] ?? Number.NaN))).p50;
}

function rateTargets(rates: Rates): readonly Target[] {
  return DIRECTIONS.map((direction) => {
    const share = shareOf(rates, direction, 'kernel');
    const plain = formatNumber(shareOf(rates, direction, 'routed'));
    return {
      what: `throughput ${direction}, beside nft NAT with the same VXLAN`,
      wanted: `≥ ${LEAST_SHARE}`,
      measured: `${formatNumber(share)} (beside nft NAT without encapsulation ${plain})`,
      met: share >= LEAST_SHARE,
    };
  });
}

function timesOf(by: Lookups['inward'], flows: number, packet: Packet) {
  return summarize(by[flows]?.map((pair) => pair[packet]) ?? []);
}

function describeLookups({ inward, outward }: Lookups): BenchTable {
  return {
    title: `a packet through the gateway's program, ns (of ${LOOKUP_ROUNDS * LOOKUPS} calls each; one reading of the clock in it)`,
    headings: ['of', 'flows', 'in p50', 'in p90', 'out p50', 'out p90'],
    rows: PACKET_NAMES.flatMap((packet) =>
      FLOWS.map((flows) => {
        const [there, back] = [inward, outward].map((by) => timesOf(by, flows, packet));
        const cells = [there?.p50, there?.p90, back?.p50, back?.p90];
        return [
          PACKETS[packet],
          flows.toLocaleString('en'),
          ...cells.map((ns) => formatNumber(ns ?? 0)),
        ];
      }),
    ),
  };
}

function lookupTargets(lookups: Lookups): readonly Target[] {
  return PACKET_NAMES.flatMap((packet) =>
    (['inward', 'outward'] as const).map((way) => {
      const [few, many] = FLOWS.map((flows) => timesOf(lookups[way], flows, packet).p50);
      const share = (few ?? 0) / (many ?? 1);
      return {
        what: `rate ${way} of ${PACKETS[packet]} with 100,000 flows, as a share of that with 100`,
        wanted: `≥ ${LEAST_SHARE}`,
        measured: formatNumber(share),
        met: share >= LEAST_SHARE,
      };
    }),
  );
}

function describeCosts(costs: readonly ProgramCost[]): BenchTable {
  return {
    title: `programs on one packet (host: mean of ${(10_000).toLocaleString('en')} runs on it, p50 of ${COST_ROUNDS}; gateway: 100 flows)`,
    headings: ['program', 'instructions', 'ns per packet'],
    rows: costs.map(({ program, instructions, nanoseconds }) => [
      program,
      String(instructions),
      formatNumber(summarize(nanoseconds).p50),
    ]),
  };
}
