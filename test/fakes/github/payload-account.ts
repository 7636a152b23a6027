/** Accounts, repositories and installations as GitHub's API and webhooks show them. */
import type { Account, Installation, Repository } from './model.ts';
import type { World } from './world.ts';

const WEB_URL = 'https://github.com';

export function nodeId(kind: string, id: number): string {
  return Buffer.from(`${kind}:${id}`).toString('base64');
}

export function instant(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -5)}Z`;
}

export function instantOrNull(ms: number | null | undefined): string | null {
  return ms === null || ms === undefined ? null : instant(ms);
}

export function userPayload(world: World, account: Account) {
  const url = `${world.url}/users/${account.login}`;
  return {
    login: account.login,
    id: account.id,
    node_id: nodeId(account.type, account.id),
    avatar_url: `https://avatars.githubusercontent.com/u/${account.id}?v=4`,
    gravatar_id: '',
    url,
    html_url: `${WEB_URL}/${account.login}`,
    followers_url: `${url}/followers`,
    following_url: `${url}/following{/other_user}`,
    gists_url: `${url}/gists{/gist_id}`,
    starred_url: `${url}/starred{/owner}{/repo}`,
    subscriptions_url: `${url}/subscriptions`,
    organizations_url: `${url}/orgs`,
    repos_url: `${url}/repos`,
    events_url: `${url}/events{/privacy}`,
    received_events_url: `${url}/received_events`,
    type: account.type,
    site_admin: false,
  };
}

export function organizationPayload(world: World, account: Account) {
  const url = `${world.url}/orgs/${account.login}`;
  return {
    login: account.login,
    id: account.id,
    node_id: nodeId('Organization', account.id),
    url,
    repos_url: `${url}/repos`,
    events_url: `${url}/events`,
    hooks_url: `${url}/hooks`,
    issues_url: `${url}/issues`,
    members_url: `${url}/members{/member}`,
    public_members_url: `${url}/public_members{/member}`,
    avatar_url: `https://avatars.githubusercontent.com/u/${account.id}?v=4`,
    description: null,
  };
}

const REPOSITORY_URLS = {
  forks_url: '/forks',
  keys_url: '/keys{/key_id}',
  collaborators_url: '/collaborators{/collaborator}',
  teams_url: '/teams',
  hooks_url: '/hooks',
  issue_events_url: '/issues/events{/number}',
  events_url: '/events',
  assignees_url: '/assignees{/user}',
  branches_url: '/branches{/branch}',
  tags_url: '/tags',
  blobs_url: '/git/blobs{/sha}',
  git_tags_url: '/git/tags{/sha}',
  git_refs_url: '/git/refs{/sha}',
  trees_url: '/git/trees{/sha}',
  statuses_url: '/statuses/{sha}',
  languages_url: '/languages',
  stargazers_url: '/stargazers',
  contributors_url: '/contributors',
  subscribers_url: '/subscribers',
  subscription_url: '/subscription',
  commits_url: '/commits{/sha}',
  git_commits_url: '/git/commits{/sha}',
  comments_url: '/comments{/number}',
  issue_comment_url: '/issues/comments{/number}',
  contents_url: '/contents/{+path}',
  compare_url: '/compare/{base}...{head}',
  merges_url: '/merges',
  archive_url: '/{archive_format}{/ref}',
  downloads_url: '/downloads',
  issues_url: '/issues{/number}',
  pulls_url: '/pulls{/number}',
  milestones_url: '/milestones{/number}',
  notifications_url: '/notifications{?since,all,participating}',
  labels_url: '/labels{/name}',
  releases_url: '/releases{/id}',
  deployments_url: '/deployments',
} as const;

export function minimalRepositoryPayload(world: World, repository: Repository) {
  const fullName = `${repository.owner.login}/${repository.name}`;
  const url = `${world.url}/repos/${fullName}`;
  const urls = Object.entries(REPOSITORY_URLS).map(([name, path]) => [name, `${url}${path}`]);
  return {
    id: repository.id,
    node_id: nodeId('Repository', repository.id),
    name: repository.name,
    full_name: fullName,
    private: false,
    owner: userPayload(world, repository.owner),
    html_url: `${WEB_URL}/${fullName}`,
    description: null,
    fork: false,
    url,
    ...Object.fromEntries(urls),
  };
}

export function repositoryPayload(world: World, repository: Repository) {
  const fullName = `${repository.owner.login}/${repository.name}`;
  const created = instant(repository.createdAtMs);
  return {
    ...minimalRepositoryPayload(world, repository),
    created_at: created,
    updated_at: created,
    pushed_at: created,
    git_url: `git://github.com/${fullName}.git`,
    ssh_url: `git@github.com:${fullName}.git`,
    clone_url: `${WEB_URL}/${fullName}.git`,
    svn_url: `${WEB_URL}/${fullName}`,
    homepage: null,
    size: 0,
    stargazers_count: 0,
    watchers_count: 0,
    language: null,
    has_issues: true,
    has_projects: true,
    has_downloads: true,
    has_wiki: true,
    has_pages: false,
    forks_count: 0,
    mirror_url: null,
    archived: false,
    disabled: false,
    open_issues_count: 0,
    license: null,
    forks: 0,
    open_issues: 0,
    watchers: 0,
    default_branch: 'main',
    is_template: false,
    web_commit_signoff_required: false,
    topics: [],
    visibility: 'public',
  };
}

export function installationPayload(world: World, installation: Installation) {
  const created = instant(installation.createdAtMs);
  const app = world.appOf(installation);
  return {
    id: installation.id,
    account: userPayload(world, installation.account),
    repository_selection: 'all',
    access_tokens_url: `${world.url}/app/installations/${installation.id}/access_tokens`,
    repositories_url: `${world.url}/installation/repositories`,
    html_url: `${WEB_URL}/settings/installations/${installation.id}`,
    app_id: app.id,
    app_slug: app.slug,
    target_id: installation.account.id,
    target_type: installation.account.type,
    permissions: installation.permissions,
    events: ['workflow_job'],
    created_at: created,
    updated_at: created,
    single_file_name: null,
    suspended_by: null,
    suspended_at: instantOrNull(installation.suspendedAtMs),
  };
}

export function appPayload(world: World, app = world.app) {
  const owner = { id: 1, login: 'operator', type: 'User' } as const;
  return {
    id: app.id,
    slug: app.slug,
    node_id: nodeId('App', app.id),
    owner: userPayload(world, owner),
    name: app.name,
    description: '',
    external_url: 'https://example.com',
    html_url: `${WEB_URL}/apps/${app.slug}`,
    created_at: instant(0),
    updated_at: instant(0),
    permissions: app.permissions,
    events: ['workflow_job'],
    installations_count: world.installationsOfApp(app).length,
  };
}

/** The event of an account that installed, suspended or removed the App. */
export function installationEvent(world: World, installation: Installation, action: string) {
  const sender = userPayload(world, installation.account);
  const suspended = action === 'suspend' ? { suspended_by: sender } : {};
  const repositories = world.repositoriesOf(installation.account).map(({ id, name, owner }) => ({
    id,
    node_id: nodeId('Repository', id),
    name,
    full_name: `${owner.login}/${name}`,
    private: false,
  }));
  return {
    action,
    installation: { ...installationPayload(world, installation), ...suspended },
    repositories,
    sender,
  };
}
