/** Which faults hit a move, where, and who has the VM in the end. */
import type { Step, Victim } from './faulty-move.ts';

/** `nobody`: its state is nowhere any more, and a report says why. */
type Survivor = 'source' | 'target' | 'nobody';

interface KillCase {
  readonly step: Step;
  readonly victim: Victim;
  readonly survivor: Survivor;
}

const KILLS: readonly (readonly [Step, Victim, Survivor])[] = [
  ['reserving', 'source agent', 'source'],
  ['reserving', 'target agent', 'source'],
  ['reserving', 'source QEMU', 'nobody'],
  ['precopy', 'source agent', 'source'],
  ['precopy', 'target agent', 'source'],
  ['precopy', 'source QEMU', 'nobody'],
  ['precopy', 'target QEMU', 'source'],
  ['switchover', 'source agent', 'source'],
  ['switchover', 'target agent', 'source'],
  ['switchover', 'source QEMU', 'nobody'],
  ['switchover', 'target QEMU', 'source'],
  ['given', 'source agent', 'target'],
  ['given', 'target agent', 'source'],
  ['given', 'source QEMU', 'target'],
  ['given', 'target QEMU', 'source'],
  ['received', 'source agent', 'target'],
  ['received', 'target agent', 'target'],
  ['received', 'source QEMU', 'target'],
  // It never ran there, and its agent knows.
  ['received', 'target QEMU', 'source'],
  ['committed', 'source agent', 'target'],
  ['committed', 'target agent', 'target'],
  ['committed', 'source QEMU', 'target'],
  ['committed', 'target QEMU', 'nobody'],
];
/** Of each kind of outcome one, where the most could go wrong. */
const EVERY_RUN = [
  'switchover: source agent',
  'given: target agent',
  'received: target agent',
  'received: target QEMU',
];

interface LinkCase {
  readonly fault: 'cut' | 'silent';
  readonly step: Step;
  readonly survivor: Exclude<Survivor, 'nobody'>;
}

/** Until the link is back the control plane is all that the two hosts can reach. */
const LINKS: readonly (readonly [Step, Exclude<Survivor, 'nobody'>])[] = [
  ['reserving', 'source'],
  ['precopy', 'source'],
  ['switchover', 'source'],
  ['given', 'target'],
  ['received', 'target'],
  ['committed', 'target'],
];

export function killCases(): readonly KillCase[] {
  const all = KILLS.map(([step, victim, survivor]) => ({ step, victim, survivor }));
  return pick(all, ({ step, victim }) => EVERY_RUN.includes(`${step}: ${victim}`));
}

export function linkCases(): readonly LinkCase[] {
  const faults = ['cut', 'silent'] as const;
  const all = faults.flatMap((fault) =>
    LINKS.map(([step, survivor]) => ({ fault, step, survivor })),
  );
  return pick(all, ({ fault, step }) => fault === 'silent' && step === 'given');
}

/** `npm run soak -- --faults` takes all of them, `npm test` those for every run. */
function pick<T>(all: readonly T[], isForEveryRun: (one: T) => boolean): readonly T[] {
  return process.env.ARCHITECT_TEST_FAULTS === 'all' ? all : all.filter(isForEveryRun);
}
