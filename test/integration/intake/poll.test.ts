import { afterEach, describe, expect, it } from 'vitest';
import { MAX_MINTS_PER_MINUTE, MAX_WRITES_PER_MINUTE } from '../../../app/github/runners.ts';
import type { JobRecord } from '../../../app/records/records.ts';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { ENTERPRISE } from '../../fixtures/enterprise.ts';
import { vmRecord } from '../../fixtures/records.ts';
import { type PollRig, startPollRig } from './poll-rig.ts';

const oneJob = (label = 'architect') => `
on: push
jobs:
  build:
    runs-on: ${label}
    steps:
      - run: 'true'
`;

let rig: PollRig;

async function start(given: Partial<GivenOptions> = {}) {
  rig = await startPollRig(given);
  // Every webhook is lost, and nothing is left of it.
  await rig.fixture.control('PUT', '/faults/deliveries', {
    drop: { count: 10_000, unrecorded: true },
  });
}

afterEach(() => rig.close());

function push(label?: string) {
  const run = rig.fixture.push(oneJob(label));
  const [job] = run.jobs;
  if (job === undefined) throw new Error('the run has no job');
  return { run, job };
}

async function stored(): Promise<readonly JobRecord[]> {
  return [...(await rig.store.listOpenJobs()), ...(await rig.store.listFinishedJobs())];
}

async function requestsLeft(): Promise<number> {
  const { rest } = rig.fixture.asInstallation();
  const { headers } = await rest.actions.listSelfHostedRunnersForOrg({ org: 'acme' });
  return Number(headers['x-ratelimit-remaining']);
}

describe('with every webhook lost, one round', () => {
  it('knows each queued job that is ours, and no other', async () => {
    await start();
    const { job } = push();
    push('ubuntu-latest');
    await rig.poll.round();
    expect(await stored()).toMatchObject([{ id: String(job.id), state: 'queued' }]);
    expect(rig.nudges()).toBe(1);
    await rig.poll.round();
    expect(rig.nudges()).toBe(1);
  });

  it('ends here what is over on GitHub', async () => {
    await start();
    const { job } = push();
    await rig.poll.round();
    rig.fixture.github.simulation.jobs.cancel(job);
    await rig.poll.round();
    expect(await stored()).toMatchObject([{ state: 'completed', conclusion: 'cancelled' }]);
  });

  it('ends a job whose run is gone, and takes it up when it shows again', async () => {
    await start();
    const { run, job } = push();
    await rig.poll.round();
    const { runs, jobs } = rig.fixture.github.simulation.world;
    runs.delete(run.id);
    jobs.delete(job.id);
    await rig.poll.round();
    expect(await stored()).toMatchObject([
      { state: 'completed', conclusion: null, why: expect.stringContaining('does not show') },
    ]);
    runs.set(run.id, run);
    jobs.set(job.id, job);
    await rig.poll.round();
    expect(await stored()).toMatchObject([{ state: 'queued', completedAtMs: null, why: null }]);
  });

  it('tells the author of a refused job, once', async () => {
    await start();
    const { job } = push('architect/cpu=256');
    await rig.poll.round();
    await rig.poll.round();
    expect(rig.told).toEqual([String(job.id)]);
  });
});

describe('the rate limit', () => {
  it('is not touched by a round that finds nothing new', async () => {
    await start();
    push();
    await rig.poll.round();
    const before = await requestsLeft();
    await rig.poll.round();
    expect(await requestsLeft()).toBe(before - 1);
  });

  it('is left to others where little of it remains', async () => {
    await start({ limits: { requestsPerHour: 10 } });
    const { job } = push();
    for (let name = 1; name <= 3; name += 1) await mint(`runner-${name}`);
    await rig.poll.round();
    expect(await stored()).toEqual([]);
    expect(await requestsLeft()).toBeGreaterThan(5);
    expect(job.status).toBe('queued');
  });
});

function mint(name: string) {
  return rig.client.asInstallation(1, {
    what: 'use the limit up',
    run: (octokit) =>
      octokit.rest.actions.generateRunnerJitconfigForOrg({
        ...{ org: 'acme', name, labels: ['x'], runner_group_id: 1 },
      }),
  });
}

describe('failed deliveries', () => {
  it('are sent again under their GUID until one arrives', async () => {
    rig = await startPollRig();
    const { fixture } = rig;
    await fixture.control('PUT', '/faults/deliveries', { drop: { count: 45 } });
    for (let count = 0; count < 45; count += 1) push('ubuntu-latest');
    const { webhooks } = fixture.github.simulation;
    const failed = new Set(webhooks.list().map(({ guid }) => guid));
    const arrived = () => webhooks.list().filter(({ statusCode }) => statusCode === 200).length;
    await rig.poll.round();
    expect(fixture.received).toEqual([]);
    rig.passMs(60_000);
    for (let round = 0; round < 3; round += 1) {
      await rig.poll.round();
      await expect.poll(arrived).toBe(Math.min(45, 20 * (round + 1)));
    }
    await rig.poll.round();
    const guids = fixture.received.map(({ headers }) => String(headers['x-github-delivery']));
    expect(new Set(guids)).toEqual(failed);
    expect(guids).toHaveLength(45);
  });

  it('that could not be read hold up no job', async () => {
    await start();
    push();
    const fault = { path: '/app/hook/deliveries', status: 500, count: 1 };
    await rig.fixture.control('POST', '/faults/api', fault);
    await rig.poll.round();
    expect(await stored()).toMatchObject([{ state: 'queued' }]);
  });
});

describe.each([
  ['an organisation', {}],
  ['an enterprise', { enterprise: ENTERPRISE }],
])('runners of %s', (_, given) => {
  const vm = (runnerId: number, over: Parameters<typeof vmRecord>[0] = {}) =>
    vmRecord({ phase: 'assigned', runnerId, runnerName: 'architect-vm-1', ...over });

  /** A queued job, and a VM with a runner for it. */
  async function assigned() {
    await start(given);
    const { job } = push();
    await rig.poll.round();
    const forJob = String(job.id);
    const [record] = await stored();
    if (record === undefined) throw new Error('the job is not known');
    const wanted = { origin: record.origin, labels: ['architect'], runnerName: 'architect-vm-1' };
    const minted = await rig.runners.mint(wanted);
    if (minted.kind === 'refused') throw new Error(minted.why);
    const runner = rig.fixture.github.simulation.world.runners.get(minted.runnerId);
    if (runner === undefined) throw new Error('the runner is not known');
    await putVm(vm(minted.runnerId, { forJob }));
    return { job, runner };
  }

  async function putVm(record: ReturnType<typeof vmRecord>) {
    rig.evidence.rememberVm(record);
    await rig.store.putVm(record, Date.now());
  }
  const wordOfVm = async () => (await rig.store.listVms()).map(({ runnerWord }) => runnerWord);

  it('that wait are left as they are', async () => {
    const { runner } = await assigned();
    expect(runner.scope.kind).toBe('enterprise' in given ? 'enterprise' : 'organization');
    await rig.poll.round();
    expect(await wordOfVm()).toEqual([null]);
  });

  it('at a job that the App may not see are known to be taken', async () => {
    const { runner } = await assigned();
    runner.job = push('elsewhere').job;
    await rig.poll.round();
    expect(await wordOfVm()).toEqual(['taken']);
  });

  it('at their own job are known by it', async () => {
    const { runner, job } = await assigned();
    runner.job = job;
    rig.fixture.github.simulation.jobs.start(job, runner);
    await rig.poll.round();
    expect(await wordOfVm()).toEqual([null]);
    expect(await stored()).toMatchObject([{ state: 'in-progress', vmId: 'vm-1' }]);
  });

  it('that expired are known to be gone', async () => {
    const { runner } = await assigned();
    rig.fixture.github.simulation.world.runners.delete(runner.id);
    await rig.poll.round();
    expect(await wordOfVm()).toEqual(['gone']);
  });

  it('without a VM are removed, but no busy one and none of another fleet', async () => {
    const { runner, job } = await assigned();
    const { runners } = rig.fixture.github.simulation.world;
    await rig.store.deleteVm(vm(1).id);
    const foreign = { ...runner, id: runner.id + 1, name: 'architect-vm-9' };
    runners.set(foreign.id, foreign);
    runner.job = job;
    await rig.poll.round();
    expect([...runners.keys()]).toEqual([runner.id, foreign.id]);
    runner.job = undefined;
    await rig.poll.round();
    expect([...runners.keys()]).toEqual([foreign.id]);
  });
});

describe('an installation', () => {
  it('that is suspended lets its waiting jobs go, and has them again when it is back', async () => {
    await start();
    push();
    await rig.poll.round();
    await rig.fixture.control('PATCH', '/installations/1', { suspended: true });
    await rig.poll.round();
    expect(await stored()).toMatchObject([
      { state: 'completed', conclusion: null, why: expect.stringContaining('suspended') },
    ]);
    await rig.fixture.control('PATCH', '/installations/1', { suspended: false });
    await rig.poll.round();
    expect(await stored()).toMatchObject([{ state: 'queued', why: null }]);
  });

  it('that is removed and made anew brings its jobs under its new id', async () => {
    await start();
    push();
    await rig.poll.round();
    await rig.fixture.control('DELETE', '/installations/1');
    await rig.poll.round();
    expect(await stored()).toMatchObject([{ state: 'completed', origin: { installationId: 1 } }]);
    await rig.fixture.control('POST', '/installations', { login: 'acme' });
    await rig.poll.round();
    expect(await stored()).toMatchObject([{ state: 'queued', origin: { installationId: 2 } }]);
  });

  it('beside another is polled with a token of its own', async () => {
    await start();
    const { world } = rig.fixture.github.simulation;
    const other = world.addAccount('other', 'User');
    const repository = world.addRepository(other, 'gadgets');
    world.addInstallation(other, { ...world.options.permissions, administration: 'write' });
    rig.fixture.github.simulation.push(repository, oneJob());
    push();
    await rig.poll.round();
    const origins = (await stored()).map(({ origin }) => [origin.installationId, origin.scope]);
    expect(origins.toSorted()).toEqual([
      [1, 'organization'],
      [2, 'repository'],
    ]);
    for (const { id, origin } of await stored()) {
      const wanted = { origin, labels: ['architect'], runnerName: `architect-vm-${id}` };
      expect((await rig.runners.mint(wanted)).kind).toBe('minted');
    }
  });
});

describe('an enterprise', () => {
  const jobOf = (owner: string, runnerName: string) => ({
    origin: {
      ...{ installationId: 1, owner, repo: 'widgets', runId: 1, headSha: 'a' },
      scope: 'organization' as const,
    },
    ...{ labels: ['architect'], runnerName },
  });

  it('leaves the jobs of other organisations to their own runners', async () => {
    await start({ enterprise: { ...ENTERPRISE, organizations: ['another'] } });
    const minted = await rig.runners.mint(jobOf('acme', 'architect-vm-1'));
    const { runners } = rig.fixture.github.simulation.world;
    expect([...runners.values()]).toMatchObject([{ scope: { kind: 'organization' } }]);
    expect(minted.kind).toBe('minted');
  });

  it('has a pace of its own', async () => {
    await start({ enterprise: ENTERPRISE });
    let minted = 0;
    for (; rig.runners.mayMint({ installationId: 1, owner: 'ACME' }); minted += 1) {
      await rig.runners.mint(jobOf('ACME', `architect-vm-${minted}`));
    }
    expect(minted).toBe(MAX_MINTS_PER_MINUTE);
    expect(rig.runners.mayMint({ installationId: 1, owner: 'another' })).toBe(true);
    expect(rig.fixture.github.simulation.limits.exceeded).toBe(0);
  });

  it('gives up an idle runner of the same name', async () => {
    await start({ enterprise: ENTERPRISE });
    const first = await rig.runners.mint(jobOf('acme', 'architect-vm-1'));
    const second = await rig.runners.mint(jobOf('acme', 'architect-vm-1'));
    expect(second).toMatchObject({ kind: 'minted' });
    expect(second).not.toEqual(first);
    expect(rig.fixture.github.simulation.world.runners.size).toBe(1);
  });

  it('is left alone while GitHub has said so, and the App is not', async () => {
    await start({ enterprise: ENTERPRISE });
    const fault = { path: '/enterprises/.*jitconfig', status: 403, count: 1 };
    const headers = { 'retry-after': '60' };
    await rig.fixture.control('POST', '/faults/api', { ...fault, headers });
    const refused = rig.runners.mint(jobOf('acme', 'architect-vm-1'));
    await expect(refused).rejects.toMatchObject({ code: 'GITHUB_RATE_LIMITED' });
    expect(rig.runners.mayMint({ installationId: 1, owner: 'acme' })).toBe(false);
    expect(rig.runners.mayMint({ installationId: 1, owner: 'another' })).toBe(true);
    expect(rig.client.isClosed(1)).toBe(false);
  });
});

it('works on an Enterprise Server', async () => {
  await start({ restPath: '/api/v3' });
  push();
  await rig.poll.round();
  expect(await stored()).toMatchObject([{ state: 'queued' }]);
});

it('GitHub never has to limit what the pace of registrations lets through', async () => {
  await start();
  const origin = { installationId: 1, owner: 'acme', repo: 'widgets', runId: 1, headSha: 'a' };
  const outcomes: string[] = [];
  while (rig.runners.mayMint({ installationId: 1, owner: 'acme' })) {
    const wanted = { origin: { ...origin, scope: 'organization' as const }, labels: ['architect'] };
    const runnerName = `architect-vm-${outcomes.length}`;
    outcomes.push((await rig.runners.mint({ ...wanted, runnerName })).kind);
  }
  expect(outcomes).toHaveLength(MAX_MINTS_PER_MINUTE);
  expect(new Set(outcomes)).toEqual(new Set(['minted']));
  await rig.poll.round();
  expect(rig.client.isClosed(1)).toBe(false);
});

it('nor what removals do beside them', async () => {
  await start();
  const origin = { installationId: 1, owner: 'acme', repo: 'widgets', runId: 1, headSha: 'a' };
  const place = { ...origin, scope: 'organization' as const };
  const minted: number[] = [];
  while (rig.runners.mayMint({ installationId: 1, owner: 'acme' })) {
    const runnerName = `architect-vm-${minted.length}`;
    const runner = await rig.runners.mint({ origin: place, labels: ['architect'], runnerName });
    if (runner.kind === 'minted') minted.push(runner.runnerId);
  }
  const outcomes = await Promise.allSettled(minted.map((id) => rig.runners.remove(place, id)));
  const late = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  expect(late).toHaveLength(2 * MAX_MINTS_PER_MINUTE - MAX_WRITES_PER_MINUTE);
  expect(late[0]).toMatchObject({ code: 'GITHUB_PACED', retry: 'later' });
  expect(rig.fixture.github.simulation.limits.exceeded).toBe(0);
});

it('registers nothing while GitHub has said to wait', async () => {
  await start();
  const fault = { path: '/generate-jitconfig', status: 403, count: 1 };
  const headers = { 'retry-after': '60' };
  await rig.fixture.control('POST', '/faults/api', { ...fault, headers });
  expect(rig.runners.mayMint({ installationId: 1, owner: 'acme' })).toBe(true);
  await expect(mint('one')).rejects.toMatchObject({ code: 'GITHUB_RATE_LIMITED' });
  expect(rig.runners.mayMint({ installationId: 1, owner: 'acme' })).toBe(false);
  expect(rig.runners.mayMint({ installationId: 2, owner: 'acme' })).toBe(true);
});
