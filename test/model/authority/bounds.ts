/** How far the model is explored; printed with each result. */
export interface Bounds {
  readonly hosts: number;
  /** Moves that the control plane begins. */
  readonly moves: number;
  /** Crashes, failed writes, power cuts, hosts that go for good; lost messages are not counted. */
  readonly faults: number;
  /** Of the faults, only hosts that go for good. */
  readonly onlyGone: boolean;
  /** Rounds of the arbiter. */
  readonly rounds: number;
  /** Packets about moves that everybody has forgotten arrive, too (old-packets.ts). */
  readonly oldPackets: boolean;
  /** The VM is rewindable: leases, clocks and a rewind. */
  readonly rewindable: boolean;
  /** Time, in ticks of 5 s. */
  readonly ticks: number;
  /** Exploration ends there, and says so: a bound that is reached proves nothing. */
  readonly states: number;
}

const NO_TIME = { rewindable: false, ticks: 0 };
const CI = { states: 300_000, oldPackets: false, onlyGone: false };
const SOAK = { states: 4_000_000, oldPackets: false, onlyGone: false };

/** What `npm test` explores. */
export const CI_BOUNDS = {
  'one move': { ...CI, ...NO_TIME, hosts: 2, moves: 1, faults: 2, rounds: 2, oldPackets: true },
  'two moves': { ...CI, ...NO_TIME, hosts: 3, moves: 2, faults: 0, rounds: 1 },
  'two moves, a host goes': {
    ...CI,
    ...NO_TIME,
    hosts: 3,
    moves: 2,
    faults: 1,
    rounds: 1,
    onlyGone: true,
  },
  'there and back': { ...CI, ...NO_TIME, hosts: 2, moves: 2, faults: 1, rounds: 1 },
  rewind: { ...CI, hosts: 2, moves: 1, faults: 1, rounds: 1, rewindable: true, ticks: 9 },
} as const satisfies Record<string, Bounds>;

/** What `npm run soak -- --model` explores. */
export const SOAK_BOUNDS = {
  'one move, four faults': {
    ...SOAK,
    ...NO_TIME,
    hosts: 2,
    moves: 1,
    faults: 4,
    rounds: 3,
    oldPackets: true,
  },
  'there and back, two faults': { ...SOAK, ...NO_TIME, hosts: 2, moves: 2, faults: 2, rounds: 2 },
  'three hosts, a fault': { ...SOAK, ...NO_TIME, hosts: 3, moves: 2, faults: 1, rounds: 1 },
  'rewind, three hosts': {
    ...SOAK,
    hosts: 3,
    moves: 1,
    faults: 1,
    rounds: 1,
    rewindable: true,
    ticks: 10,
  },
} as const satisfies Record<string, Bounds>;
