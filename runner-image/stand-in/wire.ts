/**
 * What the stand-in and the simulated GitHub say to each other. The schemas with the rules are in
 * test/fakes/github/runner-protocol.ts; this copy exists because the guest holds this folder alone.
 */
export interface RunnerSettings {
  readonly serverUrl: string;
  readonly agentId: number;
  readonly agentName: string;
  readonly workFolder: string;
  readonly token: string;
}

export interface Session {
  readonly sessionId: string;
  readonly lockRenewMs: number;
}

export type Message =
  | { readonly messageId: number; readonly type: 'job'; readonly jobId: number }
  | { readonly messageId: number; readonly type: 'cancel'; readonly jobId: number };

export type StepCondition = 'success' | 'failure' | 'always';
export type Conclusion = 'success' | 'failure' | 'cancelled' | 'skipped';

export interface JobStep {
  readonly number: number;
  readonly name: string;
  readonly run: string;
  readonly env: Readonly<Record<string, string>>;
  readonly condition: StepCondition;
  readonly continueOnError: boolean;
}

export interface JobDetails {
  readonly jobId: number;
  readonly runId: number;
  readonly runAttempt: number;
  readonly key: string;
  readonly name: string;
  readonly workflowName: string;
  readonly repository: string;
  readonly sha: string;
  readonly ref: string;
  readonly actor: string;
  readonly env: Readonly<Record<string, string>>;
  readonly steps: readonly JobStep[];
}

export interface StepReport {
  readonly name: string;
  readonly status: 'in_progress' | 'completed';
  readonly conclusion: Conclusion | null;
  readonly startedAtMs: number;
  readonly completedAtMs: number | null;
}
