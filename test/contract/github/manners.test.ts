/** What GitHub does for callers with manners, and against those without. */
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { GitHubFixture, until } from './fixture.ts';
import { checkEvent } from './openapi.ts';

let fixture: GitHubFixture;

async function start(given: Partial<GivenOptions> = {}) {
  fixture = await GitHubFixture.start(given);
  return fixture.asInstallation();
}

afterEach(async () => {
  await fixture.close();
});

const RUNNERS = { org: 'acme' };
const Token = z.object({ token: z.string() });
const remaining = (headers: Readonly<Record<string, unknown>>) =>
  Number(headers['x-ratelimit-remaining']);

describe('conditional requests', () => {
  it('answer 304 while nothing has changed, and cost no request then', async () => {
    const { rest } = await start();
    const first = await rest.actions.listSelfHostedRunnersForOrg(RUNNERS);
    const headers = { 'if-none-match': first.headers.etag ?? '' };
    const again = rest.actions.listSelfHostedRunnersForOrg({ ...RUNNERS, headers });
    const unchanged = await again.catch((error) => error);
    expect(unchanged).toMatchObject({ status: 304 });
    expect(remaining(unchanged.response.headers)).toBe(remaining(first.headers));
    await fixture.mint('one');
    const changed = await rest.actions.listSelfHostedRunnersForOrg({ ...RUNNERS, headers });
    expect(changed.status).toBe(200);
    expect(changed.data.total_count).toBe(1);
  });
});

describe('limits', () => {
  it('count for an installation, whichever token it shows', async () => {
    await start();
    const [one, other] = [fixture.asInstallation(), fixture.asInstallation()];
    const first = await one.rest.actions.listSelfHostedRunnersForOrg(RUNNERS);
    const second = await other.rest.actions.listSelfHostedRunnersForOrg(RUNNERS);
    expect(remaining(second.headers)).toBe(remaining(first.headers) - 1);
  });

  it('begin anew when their window is over', async () => {
    const octokit = await start({
      limits: { requestsPerHour: 1 },
      durations: { requestWindowMs: 1_000 },
    });
    const list = () => octokit.rest.actions.listSelfHostedRunnersForOrg(RUNNERS);
    await list();
    await expect(list()).rejects.toMatchObject({ status: 403 });
    await expect
      .poll(() =>
        list().then(
          ({ status }) => status,
          () => 0,
        ),
      )
      .toBe(200);
  });
});

describe('a request', () => {
  it('without a name of its sender is refused', async () => {
    await start();
    const { token } = Token.parse(await fixture.asInstallation().auth({ type: 'installation' }));
    const headers = { authorization: `token ${token}`, 'user-agent': '' };
    const answer = await fetch(`${fixture.github.url}/orgs/acme/actions/runners`, { headers });
    expect(answer.status).toBe(403);
  });

  it('with a token that has ended is answered 401', async () => {
    const { rest } = await start();
    await rest.actions.listSelfHostedRunnersForOrg(RUNNERS);
    await fixture.control('POST', '/faults/tokens');
    await expect(rest.actions.listSelfHostedRunnersForOrg(RUNNERS)).rejects.toMatchObject({
      status: 401,
    });
  });

  it('for a runner with a comma in a label is refused', async () => {
    await start();
    await expect(fixture.mint('one', ['a,b'])).rejects.toMatchObject({ status: 422 });
  });
});

describe('an Enterprise Server', () => {
  it('has its REST API below /api/v3, and nothing at its root', async () => {
    await start({ restPath: '/api/v3' });
    const { url } = fixture.github;
    expect((await fetch(`${url}/app`)).status).toBe(404);
    expect((await fetch(`${url}/api/v3/app`)).status).toBe(401);
  });
});

describe('the App hears of an installation', () => {
  it('that is suspended, comes back and is removed', async () => {
    await start();
    await fixture.control('PATCH', '/installations/1', { suspended: true });
    await fixture.control('PATCH', '/installations/1', { suspended: false });
    await fixture.control('DELETE', '/installations/1');
    const events = await until(
      'three events',
      () => fixture.received.length === 3 && fixture.received,
    );
    const bodies = events.map(({ body }) =>
      z.looseObject({ action: z.string() }).parse(JSON.parse(body)),
    );
    expect(bodies.map(({ action }) => action).toSorted()).toEqual([
      'deleted',
      'suspend',
      'unsuspend',
    ]);
    for (const body of bodies) checkEvent(`installation$${body.action}`, body);
  });
});
