/** What the intake needs of the rest of the control plane. */
import type { JobFacts } from '../records/records.ts';

export interface JobIntake {
  /**
   * Puts the facts into the job's record: idempotent, and indifferent to order, since events come
   * late, twice and out of order. True when the record changed. Rejects when the store does not
   * answer, or a refused job's author could not be told: whoever brought the facts tries again.
   */
  applyJobFacts(facts: JobFacts, receivedAtMs: number): Promise<boolean>;
  /** An account suspended or removed the App: its waiting jobs are let go. Rejects as the above does. */
  closeInstallation(installationId: number, why: string): Promise<void>;
  /** Asks the reconciler to look now. Never throws. */
  nudge(): void;
}
