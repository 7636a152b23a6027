/** The enterprise that runners are registered with: may its token do so, and is its group the right one? */
import { pino } from 'pino';
import { z } from 'zod';
import { ArchitectError } from '../../../host-agent/protocol/errors.ts';
import type { Config } from '../../config.ts';
import { createTokenClient, type TokenClient } from '../../github/client.ts';
import { readPages } from '../../github/pages.ts';
import { type Finding, failed } from './finding.ts';
import { judgeEnterprise, type SeenEnterprise } from './judge-enterprise.ts';

const MAX_PAGES = 10;

const Group = z.object({ id: z.int(), name: z.string(), visibility: z.string() });
const Groups = z.object({ runner_groups: z.array(Group) });
const Organizations = z.object({ organizations: z.array(z.object({ login: z.string() })) });

type Given = Pick<Config, 'github'> & { readonly enterprise: NonNullable<Config['enterprise']> };

export async function checkEnterprise({ github, enterprise }: Given): Promise<readonly Finding[]> {
  const { slug, token } = enterprise;
  const client = createTokenClient({ github, token, logger: pino({ level: 'silent' }) });
  try {
    return judgeEnterprise(enterprise, await readEnterprise(client, enterprise));
  } catch (error) {
    if (!(error instanceof ArchitectError)) throw error;
    const { status } = error.context;
    if (status !== 401 && status !== 403 && status !== 404)
      return [failed('enterprise', error.message, 'Try again in a minute.')];
    const what = `GitHub does not let the token see the runners of the enterprise ${slug} (${status}).`;
    const fix =
      'Compare github.enterprise.slug with the address of its page; put a classic token of an owner, with manage_runners:enterprise, into github.enterprise.tokenFile.';
    return [failed('enterprise', what, fix)];
  }
}

function readEnterprise(
  client: TokenClient,
  { slug: enterprise, runnerGroupId }: Given['enterprise'],
): Promise<SeenEnterprise> {
  return client.withToken({
    what: `look at the runners of the enterprise ${enterprise}`,
    run: async (octokit) => {
      const route = '/enterprises/{enterprise}/actions';
      const { headers } = await octokit.request(`GET ${route}/runners`, {
        enterprise,
        per_page: 1,
      });
      const groups = await readPages(MAX_PAGES, async (page) => {
        const answer = await octokit.request(`GET ${route}/runner-groups`, { enterprise, ...page });
        return Groups.parse(answer.data).runner_groups;
      });
      const group = groups.items.find(({ id }) => id === runnerGroupId);
      const scopes = headers['x-oauth-scopes']?.split(',').map((scope) => scope.trim());
      if (group?.visibility !== 'selected')
        return { scopes, group: group?.name, chosen: undefined };
      const chosen = await readPages(MAX_PAGES, async (page) => {
        const which = { enterprise, runner_group_id: group.id, ...page };
        const path = `${route}/runner-groups/{runner_group_id}/organizations`;
        return Organizations.parse((await octokit.request(`GET ${path}`, which)).data)
          .organizations;
      });
      return { scopes, group: group.name, chosen: chosen.items.map(({ login }) => login) };
    },
  });
}
