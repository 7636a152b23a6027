import examples from '@octokit/webhooks-examples' with { type: 'json' };
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { factsOfEvent, factsOfJob, GithubJob, placeOf, WorkflowJobEvent } from './job-facts.ts';

const Named = z.array(z.object({ name: z.string(), examples: z.array(z.unknown()) }));
const published = Named.parse(examples).find(({ name }) => name === 'workflow_job')?.examples ?? [];

const event = {
  action: 'queued',
  workflow_job: {
    id: 29,
    run_id: 7,
    head_sha: 'a'.repeat(40),
    status: 'queued',
    conclusion: null,
    created_at: '2026-01-01T00:00:00Z',
    started_at: '2026-01-01T00:00:00Z',
    completed_at: null,
    name: 'build',
    workflow_name: 'CI',
    labels: ['architect'],
    runner_id: null,
    runner_name: null,
  },
  repository: { name: 'app', owner: { login: 'octo', type: 'User' } },
  installation: { id: 5 },
};

describe('events as GitHub publishes them', () => {
  test('there are examples at all', () => expect(published.length).toBeGreaterThan(5));

  test.each(published.map((example, index) => [index, example] as const))(
    'example %i is understood',
    (_index, example) => {
      const parsed = WorkflowJobEvent.parse(example);
      const facts = factsOfEvent({ ...parsed, installation: { id: 5 } });
      expect(facts?.id).toMatch(/^\d+$/);
      expect(facts?.createdAtMs).toBeGreaterThan(0);
      expect(facts?.origin.installationId).toBe(5);
      expect(facts?.status).toBe(parsed.workflow_job.status);
    },
  );
});

test('a queued job has not started, whatever started_at says', () => {
  const facts = factsOfEvent(WorkflowJobEvent.parse(event));
  expect(facts).toEqual({
    id: '29',
    origin: {
      installationId: 5,
      owner: 'octo',
      repo: 'app',
      scope: 'repository',
      runId: 7,
      headSha: 'a'.repeat(40),
    },
    name: 'build',
    workflowName: 'CI',
    labels: ['architect'],
    status: 'queued',
    conclusion: null,
    runnerName: null,
    createdAtMs: Date.UTC(2026, 0, 1),
    startedAtMs: null,
    completedAtMs: null,
  });
});

test('the REST answer about a job gives the same facts as its event', () => {
  const parsed = WorkflowJobEvent.parse(event);
  const place = { installationId: 5, ...placeOf(parsed.repository) };
  expect(factsOfJob(GithubJob.parse(event.workflow_job), place)).toEqual(factsOfEvent(parsed));
});

test('runners of an organisation register with it', () => {
  const owner = { login: 'octo', type: 'Organization' };
  const { organization: _none, ...rest } = { ...event, organization: null };
  const byOwner = { ...rest, repository: { name: 'app', owner } };
  const byEvent = { ...rest, organization: { login: 'octo' } };
  for (const one of [byOwner, byEvent]) {
    expect(factsOfEvent(WorkflowJobEvent.parse(one))?.origin.scope).toBe('organization');
  }
});

test('a job that waits for its turn is waiting', () => {
  for (const status of ['requested', 'pending', 'waiting']) {
    const job = GithubJob.parse({ ...event.workflow_job, status });
    const place = { installationId: 5, owner: 'o', repo: 'r', scope: 'repository' } as const;
    expect(factsOfJob(job, place).status).toBe('waiting');
  }
});

test('an event without an installation has no facts', () => {
  expect(factsOfEvent(WorkflowJobEvent.parse({ ...event, installation: null }))).toBeUndefined();
});

test.each([
  ['no job', { ...event, workflow_job: undefined }],
  ['an id that is text', { ...event, workflow_job: { ...event.workflow_job, id: 'x' } }],
  ['labels that are none', { ...event, workflow_job: { ...event.workflow_job, labels: 'a' } }],
  ['an unknown status', { ...event, workflow_job: { ...event.workflow_job, status: 'odd' } }],
  ['no repository', { ...event, repository: {} }],
])('an event with %s is turned away', (_name, wrong) => {
  expect(WorkflowJobEvent.safeParse(wrong).success).toBe(false);
});
