/**
 * Before a job of ours is put into the records, what its repository says of itself is read: its label
 * may name a class of that file. A file that GitHub does not give now is waited for only where the label
 * needs it; whoever brought the facts then tries again.
 */
import type { RepositoryFiles } from '../github/repository-files.ts';
import { parseLabel } from '../labels/grammar.ts';
import type { Policy } from '../labels/policy.ts';
import type { JobIntake } from './ports.ts';

export interface WithFiles {
  readonly files: Pick<RepositoryFiles, 'refresh' | 'knows'>;
  /** The operator's own. */
  readonly policy: Policy;
}

/** `applyJobFacts` then rejects, too, when a file that is needed could not be read yet. */
export function withRepositoryFiles(intake: JobIntake, { files, policy }: WithFiles): JobIntake {
  return {
    ...intake,
    applyJobFacts: async (facts, receivedAtMs) => {
      const need = needOf(facts.labels, policy);
      if (need !== 'none') {
        await files.refresh(facts.origin).catch((error: unknown) => {
          if (need === 'class' && !files.knows(facts.origin)) throw error;
        });
      }
      return await intake.applyJobFacts(facts, receivedAtMs);
    },
  };
}

/** `class`: without the file the job would be refused; `caps`: the file may hold it back. */
function needOf(labels: readonly string[], policy: Policy): 'none' | 'caps' | 'class' {
  const ours = labels.map(parseLabel).filter(({ kind }) => kind !== 'not-ours');
  if (ours.length === 0) return 'none';
  const named = ours.some(
    (label) =>
      label.kind === 'parsed' &&
      label.request.class !== undefined &&
      !Object.hasOwn(policy.classes, label.request.class),
  );
  return named ? 'class' : 'caps';
}
