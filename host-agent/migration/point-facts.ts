/**
 * What a manifest says of a VM's machine, beside its memory and disk. Only who has the VM's key reads
 * it. Pure.
 */
import { z } from 'zod';
import { type Refused, refused } from '../protocol/errors.ts';
import type { ResumeVm } from '../protocol/migration-messages.ts';
import { type MachineFacts, MachineFacts as MachineSchema } from './machine-facts.ts';
import type { Json, PointFound } from './worker/data-commands.ts';

export const PointFacts = z.object({
  machine: MachineSchema,
  /** Of QEMU's stream. */
  ramSectionId: z.int().min(0),
  /** The guest was stopped for good where it was: whoever starts it from here goes on with its run. */
  isParked: z.boolean(),
  /** When the guest was stopped; wall clock of its host. */
  stoppedAtMs: z.int(),
});
export type PointFacts = Readonly<z.infer<typeof PointFacts>>;

/** As JSON, for a manifest. `machine`: what describeMachine gives. */
export function describePoint(
  point: Omit<PointFacts, 'machine'> & { readonly machine: Json },
): Json {
  return z.json().parse(JSON.parse(JSON.stringify(point)));
}

/**
 * Whether this is the point that the request means.
 *
 *   parked    the newest manifest is the one that parking made, in an epoch not above the request's:
 *             after a checkpoint of a later run the VM has run elsewhere, and this one is not to run
 *   rewound   any newest manifest of an epoch below the request's: nobody was to write after it
 */
export function judgePoint(
  found: PointFound | undefined,
  { from, epoch }: Pick<ResumeVm, 'from' | 'epoch'>,
): { readonly kind: 'fits'; readonly facts: PointFacts; readonly machine: MachineFacts } | Refused {
  if (found === undefined) return refused('The chunk store has nothing of this VM.');
  const parsed = PointFacts.safeParse(found.facts);
  if (!parsed.success) return refused("The VM's manifest is not one that this agent can read.");
  const facts = parsed.data;
  if (from === 'parked' && !facts.isParked) {
    return refused("The VM's newest manifest is a checkpoint, not where it was parked.");
  }
  if (found.epoch > epoch || (from === 'rewound' && found.epoch === epoch)) {
    return refused(`The VM has come to epoch ${found.epoch}; ${epoch} was asked for.`);
  }
  return { kind: 'fits', facts, machine: facts.machine };
}
