/** GitHub: is it there, does it know us, may we, are we installed, does its word reach us? */
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { z } from 'zod';
import { ArchitectError } from '../../../host-agent/protocol/errors.ts';
import { type AppConfig, appsOf, type Config } from '../../config.ts';
import { holdsPrivateKey, NEW_KEY_ADVICE } from '../../github/app-key.ts';
import { type AppClient, createGithubClient, type GithubClient } from '../../github/client.ts';
import { redeliver } from '../../github/delivery-log.ts';
import { checkEnterprise } from './check-enterprise.ts';
import { type Finding, failed, fine, warning } from './finding.ts';
import { judgeApp, judgeClock, type SeenApp, type SeenInstallation } from './judge-app.ts';
import { judgeWebhooks, type SeenDelivery } from './judge-webhooks.ts';

const TIMEOUT_MS = 10_000;
/** How long the outcome of a delivery that is sent again is waited for, and how often it is looked for. */
const REDELIVERY_LIMIT_MS = 12_000;
const REDELIVERY_LOOK_MS = 500;
const PER_PAGE = 100;

const App = z.object({
  slug: z.string(),
  html_url: z.string(),
  permissions: z.record(z.string(), z.string()),
  events: z.array(z.string()),
});
const Installations = z.array(
  z.object({
    id: z.int(),
    html_url: z.string(),
    account: z.object({ login: z.string(), type: z.string().nullish() }).nullish(),
    suspended_at: z.string().nullish(),
    permissions: z.record(z.string(), z.string()),
  }),
);
const Deliveries = z.array(
  z.object({ id: z.int(), guid: z.string(), event: z.string(), status_code: z.int() }),
);
const Groups = z.object({
  runner_groups: z.array(
    z.object({ id: z.int(), name: z.string(), allows_public_repositories: z.boolean() }),
  ),
});

type GithubConfig = Pick<
  Config,
  'github' | 'rerunLost' | 'cancelRefusedRuns' | 'repositoryFiles' | 'runnerGroupId' | 'enterprise'
>;

export async function checkGithub(
  config: GithubConfig,
  now: () => number,
): Promise<readonly Finding[]> {
  const { apiUrl } = config.github;
  const clock = await readClock(apiUrl, now);
  if (clock === undefined) {
    return [
      failed(
        'GitHub',
        `${apiUrl} does not answer.`,
        'Check the network, DNS and proxy of this machine, and github.apiUrl.',
      ),
    ];
  }
  const { enterprise } = config;
  const ofEnterprise =
    enterprise === undefined ? [] : await checkEnterprise({ ...config, enterprise });
  const found: Finding[] = [judgeClock(clock), ...ofEnterprise];
  for (const app of appsOf(config.github)) found.push(...(await checkApp(app, config)));
  return found;
}

async function checkApp(app: AppConfig, config: GithubConfig): Promise<readonly Finding[]> {
  const client = createGithubClient({ github: app, logger: pino({ level: 'silent' }) });
  const key = judgeKey(app);
  const seen = key ?? (await readApp(client).catch(explainRefusal(app.appId)));
  if ('check' in seen) return [seen];
  const { rerunLost, cancelRefusedRuns, repositoryFiles } = config;
  return [
    fine('App', `GitHub knows the App ${seen.slug} and its key.`),
    ...judgeApp(seen, { rerunLost, cancelRefusedRuns, repositoryFiles, checks: false }),
    ...(await checkGroups(client, seen, config)),
    await checkWebhooks(client),
  ];
}

/** How far this machine's clock is ahead of GitHub's; undefined when GitHub does not answer. */
async function readClock(apiUrl: string, now: () => number): Promise<number | undefined> {
  try {
    const answer = await fetch(`${apiUrl}/app`, {
      headers: { 'user-agent': 'architect' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const theirs = Date.parse(answer.headers.get('date') ?? '');
    return Number.isNaN(theirs) ? 0 : now() - theirs;
  } catch {
    return undefined;
  }
}

function judgeKey({ appId, privateKey }: AppConfig): Finding | undefined {
  if (holdsPrivateKey(privateKey)) return undefined;
  const what = `The file in privateKeyFile of App ${appId} holds no private key.`;
  return failed('App', what, NEW_KEY_ADVICE);
}

async function readApp(client: AppClient): Promise<SeenApp> {
  const what = 'read the App';
  const { data } = await client.asApp({
    what,
    run: (octokit) => octokit.rest.apps.getAuthenticated(),
  });
  const { slug, html_url: pageUrl, permissions, events } = App.parse(data);
  const listed = await client.asApp({
    what: "list the App's installations",
    run: (octokit) => octokit.rest.apps.listInstallations({ per_page: PER_PAGE }),
  });
  const installations = Installations.parse(listed.data).map(
    (one): SeenInstallation => ({
      id: one.id,
      account: one.account?.login ?? `installation ${one.id}`,
      organization: one.account?.type === 'Organization',
      suspended: one.suspended_at != null,
      permissions: one.permissions,
      pageUrl: one.html_url,
    }),
  );
  return { slug, pageUrl, permissions, events, installations };
}

function explainRefusal(appId: number): (error: unknown) => Finding {
  return (error) => {
    if (!(error instanceof ArchitectError)) throw error;
    if (error.context.status === 401 || error.context.status === 404) {
      return failed(
        'App',
        `GitHub does not take the key for App ${appId}: it is another App's, was deleted, or the clock is wrong.`,
        "Compare appId in the settings with the App's page; make a new key there, and put it into its privateKeyFile.",
      );
    }
    return failed('App', error.message, 'Try again in a minute; see https://www.githubstatus.com.');
  };
}

async function checkGroups(
  client: GithubClient,
  { installations }: SeenApp,
  { enterprise, runnerGroupId: groupId }: GithubConfig,
): Promise<readonly Finding[]> {
  const found: Finding[] = [];
  const elsewhere = new Set(enterprise?.organizations.map((login) => login.toLowerCase()));
  for (const { id, account, organization, suspended, pageUrl } of installations) {
    if (organization && !suspended && !elsewhere.has(account.toLowerCase()))
      found.push(await checkGroup(client, { id, account, groupId, pageUrl }));
  }
  return found;
}

async function checkGroup(
  client: GithubClient,
  {
    id,
    account,
    groupId,
    pageUrl,
  }: Pick<SeenInstallation, 'id' | 'account' | 'pageUrl'> & {
    readonly groupId: number;
  },
): Promise<Finding> {
  const check = 'runner group';
  try {
    const answer = await client.asInstallation(id, {
      what: `list the runner groups of ${account}`,
      run: (octokit) =>
        octokit.request('GET /orgs/{org}/actions/runner-groups', {
          org: account,
          per_page: PER_PAGE,
        }),
    });
    const group = Groups.parse(answer.data).runner_groups.find((one) => one.id === groupId);
    if (group === undefined) {
      const fix = `Set github.runnerGroupId to one of ${new URL(pageUrl).origin}/organizations/${account}/settings/actions/runner-groups.`;
      return failed(
        check,
        `${account} has no runner group ${groupId}: no runner can be registered.`,
        fix,
      );
    }
    return fine(check, `Runners of ${account} join its group "${group.name}".`);
  } catch (error) {
    if (!(error instanceof ArchitectError)) throw error;
    return warning(check, error.message, 'See what is said about permissions, and look again.');
  }
}

/** A failed delivery that is newest is sent again: it may have failed before the control plane ran. */
async function checkWebhooks(client: AppClient): Promise<Finding> {
  try {
    const { data } = await client.asApp({
      what: "read the webhook's configuration",
      run: (octokit) => octokit.rest.apps.getWebhookConfigForApp(),
    });
    const latest = await readLatest(client);
    const wanting = latest !== undefined && (latest.statusCode < 200 || latest.statusCode >= 300);
    return judgeWebhooks(data.url, wanting ? await sendAgain(client, latest) : latest);
  } catch (error) {
    if (!(error instanceof ArchitectError)) throw error;
    return warning('webhooks', error.message, 'Look again in a minute.');
  }
}

async function readLatest(client: AppClient): Promise<SeenDelivery | undefined> {
  const { data } = await client.asApp({
    what: "read the App's log of deliveries",
    run: (octokit) => octokit.rest.apps.listWebhookDeliveries({ per_page: 1 }),
  });
  const [latest] = Deliveries.parse(data);
  return latest === undefined ? undefined : { ...latest, statusCode: latest.status_code };
}

async function sendAgain(client: AppClient, old: SeenDelivery): Promise<SeenDelivery> {
  await redeliver(client, old.id);
  for (let waitedMs = 0; waitedMs < REDELIVERY_LIMIT_MS; waitedMs += REDELIVERY_LOOK_MS) {
    const latest = await readLatest(client);
    if (latest !== undefined && latest.id !== old.id) return latest;
    await delay(REDELIVERY_LOOK_MS);
  }
  return old;
}
