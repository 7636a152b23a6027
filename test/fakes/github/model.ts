/** What the simulated GitHub knows: mutable, plain, owned by the World. */
import type { JobLog } from './job-log.ts';
import type { Enterprise, Permissions } from './options.ts';
import type { Conclusion, RunnerMessage, StepCondition } from './runner-protocol.ts';

/** What stands on an App's page. */
export interface RegisteredApp {
  readonly id: number;
  readonly slug: string;
  readonly name: string;
  readonly publicKey: string;
  readonly permissions: Permissions;
  webhookSecret: string;
}

export interface Account {
  readonly id: number;
  readonly login: string;
  readonly type: 'Organization' | 'User';
}

export interface Repository {
  /** Of its default branch, by path; unset: none. */
  files?: Map<string, string>;
  readonly id: number;
  readonly name: string;
  readonly owner: Account;
  readonly createdAtMs: number;
}

export interface Installation {
  readonly id: number;
  /** Unset: the first App's, whichever that is by now. */
  readonly appId?: number | undefined;
  readonly account: Account;
  permissions: Permissions;
  readonly createdAtMs: number;
  suspendedAtMs: number | undefined;
}

/** Where a runner is registered: it serves every repository of an enterprise, of an account, or one. */
export type RunnerScope =
  | { readonly kind: 'enterprise'; readonly enterprise: Enterprise }
  | { readonly kind: 'organization'; readonly account: Account }
  | { readonly kind: 'repository'; readonly repository: Repository };

export interface RunnerSession {
  readonly id: string;
  readonly name: string;
  lastPollAtMs: number;
  readonly messages: RunnerMessage[];
  /** The long poll that waits now. */
  wake: (() => void) | undefined;
}

export interface Runner {
  readonly id: number;
  readonly name: string;
  readonly labels: readonly string[];
  readonly groupId: number;
  readonly workFolder: string;
  readonly scope: RunnerScope;
  readonly token: string;
  readonly createdAtMs: number;
  /** Since when it is neither online nor at a job. */
  unusedSinceMs: number;
  firstOnlineAtMs: number | undefined;
  session: RunnerSession | undefined;
  offered: Job | undefined;
  offeredAtMs: number;
  job: Job | undefined;
}

export interface Run {
  readonly id: number;
  readonly number: number;
  readonly repository: Repository;
  readonly workflowName: string;
  /** Of its workflow's file. */
  readonly path: string;
  readonly event: 'push' | 'workflow_dispatch';
  readonly sha: string;
  readonly branch: string;
  readonly createdAtMs: number;
  attempt: number;
  attemptStartedAtMs: number;
  /** Of all attempts. */
  readonly jobs: Job[];
}

export interface StepPlan {
  readonly number: number;
  readonly name: string;
  readonly run: string;
  readonly env: Readonly<Record<string, string>>;
  readonly condition: StepCondition;
  readonly continueOnError: boolean;
}

/** A job of a workflow after its matrix and expressions are worked out. */
export interface JobPlan {
  readonly key: string;
  readonly name: string;
  readonly labels: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly failFast: boolean;
  readonly steps: readonly StepPlan[];
}

export interface StepState {
  readonly number: number;
  name: string;
  status: 'queued' | 'in_progress' | 'completed';
  conclusion: Conclusion | null;
  startedAtMs: number | null;
  completedAtMs: number | null;
}

export interface Job {
  readonly id: number;
  readonly run: Run;
  readonly attempt: number;
  readonly plan: JobPlan;
  status: 'queued' | 'in_progress' | 'completed';
  conclusion: Conclusion | null;
  /** Kept after the runner itself is gone. */
  runner: { readonly id: number; readonly name: string; readonly groupId: number } | undefined;
  readonly steps: StepState[];
  readonly log: JobLog;
  /** Markdown, by the number of the step that wrote it. */
  readonly summaries: Map<number, string>;
  readonly queuedAtMs: number;
  webhookSentAtMs: number | undefined;
  runnerOnlineAtMs: number | undefined;
  assignedAtMs: number | undefined;
  firstStepAtMs: number | undefined;
  completedAtMs: number | undefined;
  lockedUntilMs: number | undefined;
  cancelledAtMs: number | undefined;
}

export interface CheckRun {
  readonly id: number;
  readonly repository: Repository;
  readonly name: string;
  readonly headSha: string;
  readonly status: 'queued' | 'in_progress' | 'completed';
  readonly conclusion: string | null;
  readonly output: { readonly title: string | null; readonly summary: string | null };
  readonly detailsUrl: string | null;
  readonly externalId: string;
  readonly createdAtMs: number;
}
