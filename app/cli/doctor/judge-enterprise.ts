/**
 * What GitHub says of the enterprise's token and runner group, against what is needed. Pure.
 * Source: docs.github.com, "Scopes for OAuth apps": answers name a classic token's scopes.
 */
import type { Enterprise } from '../../github/runner-registry.ts';
import { type Finding, failed, fine } from './finding.ts';

/** The second contains the first. */
const WANTED_SCOPES = ['manage_runners:enterprise', 'admin:enterprise'];

export interface SeenEnterprise {
  /** Undefined: GitHub did not say. */
  readonly scopes: readonly string[] | undefined;
  /** The name of the group that is set; undefined: the enterprise has no such group. */
  readonly group: string | undefined;
  /** Logins of those that may use the group; undefined: every organisation of the enterprise. */
  readonly chosen: readonly string[] | undefined;
}

export function judgeEnterprise(
  { slug, organizations, runnerGroupId }: Enterprise,
  { scopes, group, chosen }: SeenEnterprise,
): readonly Finding[] {
  const enough = scopes?.some((scope) => WANTED_SCOPES.includes(scope)) ?? true;
  const token = enough
    ? fine('enterprise', `Its token may register runners with ${slug}.`)
    : failed(
        'enterprise',
        `The token in github.enterprise.tokenFile may not register runners with ${slug}.`,
        'Give it the scope manage_runners:enterprise on its page among your tokens on GitHub.',
      );
  if (group === undefined) {
    const what = `${slug} has no runner group ${runnerGroupId}: no runner can be registered.`;
    return [token, failed('runner group', what, 'Set github.enterprise.runnerGroupId.')];
  }
  const logins = chosen?.map((login) => login.toLowerCase());
  const out = organizations.filter((one) => logins?.includes(one.toLowerCase()) === false);
  if (out.length === 0)
    return [token, fine('runner group', `Runners of ${slug} join its group "${group}".`)];
  return [
    token,
    failed(
      'runner group',
      `${out.join(', ')} may not use the group "${group}" of ${slug}: no job of theirs gets a runner.`,
      "Add them to the group in the enterprise's settings, or take them out of github.enterprise.organizations.",
    ),
  ];
}
