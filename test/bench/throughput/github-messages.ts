/** What the control plane's thread and GitHub's say to each other. */
/** The first job's id; the others count up from it. */
export const FIRST_JOB_ID = 40_000_000_000;

export interface GithubOptions {
  readonly webhookUrl: string;
  readonly webhookSecret: string;
  readonly jobs: number;
  /** At most so many jobs are queued or running; the next is queued when one has completed. */
  readonly openJobs: number;
  /** No job is given a runner: all stay queued. */
  readonly held?: boolean;
}

export type ToGithub =
  | { readonly kind: 'begin' }
  | { readonly kind: 'runner-online'; readonly runnerName: string }
  | { readonly kind: 'remove-runner'; readonly runnerName: string; readonly requestId: number };

export type FromGithub =
  /** The runner's process has ended, as it does after its one job. */
  | { readonly kind: 'runner-exited'; readonly runnerName: string }
  | {
      readonly kind: 'runner-removed';
      readonly requestId: number;
      readonly outcome: 'removed' | 'busy' | 'absent';
    }
  | { readonly kind: 'all-completed'; readonly webhooks: number }
  | { readonly kind: 'failed'; readonly why: string };
