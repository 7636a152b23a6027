/**
 * What the GitHub App has to be granted. Source: docs.github.com, "Permissions required for GitHub
 * Apps". `checks` and `actions: write` only switch features on; without them nothing else fails.
 */
export const MINIMUM_PERMISSIONS = {
  organization_self_hosted_runners: 'write',
  actions: 'read',
  metadata: 'read',
} as const;

export const OPTIONAL_PERMISSIONS = {
  /** Runners of a repository that no organisation owns are registered with the repository. */
  administration: 'write',
  /** A refused or lost job is explained by a check on its commit. */
  checks: 'write',
  /** Runs of refused jobs are cancelled (ARCHITECT_CANCEL_REFUSED_RUNS), lost jobs run again (ARCHITECT_RERUN_LOST). */
  actions: 'write',
} as const;

/** The webhook events to subscribe to; `installation` comes by itself. */
export const SUBSCRIBED_EVENTS = ['workflow_job'] as const;
