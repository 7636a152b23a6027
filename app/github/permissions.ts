/**
 * What the GitHub App has to be granted: the least, and what each feature that is switched on needs
 * besides. Source: docs.github.com, "Permissions required for GitHub Apps".
 */

export interface Features {
  /** A refused or lost job is explained by a check on its commit. */
  readonly checks: boolean;
  /** Jobs that lost their machine are run again (github.rerunLost). */
  readonly rerunLost: boolean;
  /** Runs of refused jobs are cancelled (github.cancelRefusedRuns). */
  readonly cancelRefusedRuns: boolean;
  /** Repositories' own `.github/architect.yml` is read (github.repositoryFiles). */
  readonly repositoryFiles: boolean;
  /** Runners of a repository that no organisation owns are registered with the repository. */
  readonly userRepositories: boolean;
}

export type Access = 'read' | 'write';
export type Permissions = Readonly<Record<string, Access>>;

/** `metadata` goes with every other permission; GitHub wants it said. */
export function permissionsFor(features: Features): Permissions {
  const { checks, rerunLost, cancelRefusedRuns, repositoryFiles, userRepositories } = features;
  return {
    metadata: 'read',
    organization_self_hosted_runners: 'write',
    actions: rerunLost || cancelRefusedRuns ? 'write' : 'read',
    ...(checks ? { checks: 'write' } : {}),
    ...(repositoryFiles ? { contents: 'read' } : {}),
    ...(userRepositories ? { administration: 'write' } : {}),
  };
}

/** Of those needed, the ones that were not granted, as `name: access`. */
export function missingPermissions(
  needed: Permissions,
  granted: Readonly<Record<string, string>>,
): readonly string[] {
  return Object.entries(needed)
    .filter(([name, access]) => granted[name] !== 'write' && granted[name] !== access)
    .map(([name, access]) => `${name}: ${access}`);
}

/** The webhook events to subscribe to; `installation` comes by itself. */
export const SUBSCRIBED_EVENTS: readonly string[] = ['workflow_job'];
