/** A repository's own file, read through the App from the simulated GitHub. */
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createGithubClient } from '../../../app/github/client.ts';
import { RepositoryFiles } from '../../../app/github/repository-files.ts';
import { classifyFacts } from '../../../app/intake/classify-facts.ts';
import type { JobIntake } from '../../../app/intake/ports.ts';
import { withRepositoryFiles } from '../../../app/intake/with-repository-files.ts';
import { DEFAULT_POLICY } from '../../../app/labels/policy.ts';
import type { JobFacts } from '../../../app/records/records.ts';
import { APP_ID, GitHubFixture, KEYS } from '../../contract/github/fixture.ts';
import { checkAnswer } from '../../contract/github/openapi.ts';
import { jobFacts } from '../../fixtures/records.ts';

const PATH = '.github/architect.yml';
const policy = DEFAULT_POLICY;
const logger = pino({ level: 'silent' });
const evidence = { readVm: () => undefined };
let fixture: GitHubFixture;
let nowMs: number;
let applied: string[];

beforeAll(async () => {
  const permissions = { metadata: 'read', contents: 'read' } as const;
  fixture = await GitHubFixture.start({ permissions });
});
afterAll(() => fixture.close());
beforeEach(() => {
  nowMs = 0;
  applied = [];
});

const repository = () => fixture.github.simulation.world.repository('acme', 'widgets');
const content = (text: string) => {
  repository().files = new Map([[PATH, text]]);
};

function open() {
  const github = { apiUrl: fixture.github.url, appId: APP_ID, privateKey: KEYS.privateKey };
  const client = createGithubClient({ github, logger });
  const files = new RepositoryFiles({ client, policy, logger, now: () => nowMs });
  const plain: JobIntake = {
    applyJobFacts: async (facts) => {
      const { kind } = classify(facts);
      applied.push(kind);
      return true;
    },
    closeInstallation: async () => undefined,
    nudge: () => undefined,
  };
  const classify = (facts: JobFacts) =>
    classifyFacts(facts, {
      ...files.policyFor(facts.origin),
      pool: { accelerator: 'kvm' },
      evidence,
    });
  return { classify, intake: withRepositoryFiles(plain, { files, policy }) };
}

const facts = (label: string) =>
  jobFacts({
    labels: [label],
    origin: { ...jobFacts().origin, installationId: 1, owner: 'acme', repo: 'widgets' },
  });

test('a class of it is served, kept for a minute, and asked for anew at no cost', async () => {
  content('classes:\n  nightly: { cpu: 6, ram: 24 }\n');
  const { intake } = open();
  await Promise.all(
    [1, 2, 3].map((n) => intake.applyJobFacts(facts('architect/class=nightly'), n)),
  );
  expect(applied).toEqual(['served', 'served', 'served']);
  const place = { owner: 'acme', repo: 'widgets' };
  const remaining = async () => {
    const { headers } = await fixture.asInstallation().rest.repos.get(place);
    return Number(headers['x-ratelimit-remaining']);
  };
  const before = await remaining();
  nowMs = 61_000;
  await intake.applyJobFacts(facts('architect/class=nightly'), 1);
  // Asking how much remains costs one itself.
  expect(before - (await remaining())).toBe(1);
  content('classes: {}');
  await intake.applyJobFacts(facts('architect/class=nightly'), 1);
  expect(applied.at(-1)).toBe('served');
  nowMs = 122_000;
  await intake.applyJobFacts(facts('architect/class=nightly'), 1);
  expect(applied.at(-1)).toBe('refused');
});

test('GitHub answers it as its description says', async () => {
  content('classes: {}');
  const place = { owner: 'acme', repo: 'widgets', path: PATH };
  const answer = await fixture.asInstallation().rest.repos.getContent(place);
  const path = '/repos/{owner}/{repo}/contents/{path}';
  checkAnswer({ method: 'GET', path, status: 200 }, answer.data);
});

test('a malformed one is told with its line, and hurts no other job', async () => {
  content('classes:\n  nightly: { cpu: x, ram: 4 }\n');
  const { intake, classify } = open();
  const wants = facts('architect/class=nightly');
  await intake.applyJobFacts(wants, 1);
  expect(classify(wants)).toMatchObject({
    kind: 'refused',
    why: expect.stringMatching(
      /architect\.yml cannot be used: line 2, column 19: .*wants a number/,
    ),
  });
  await intake.applyJobFacts(facts('architect'), 1);
  expect(applied).toEqual(['refused', 'served']);
  await intake.applyJobFacts(facts('ubuntu-latest'), 1);
  expect(applied.at(-1)).toBe('not-ours');
});

test('while GitHub is away a job that needs it waits, and others do not', async () => {
  content('classes:\n  nightly: { cpu: 6, ram: 24 }\n');
  const { intake } = open();
  await fixture.control('POST', '/faults/api', { path: 'contents', status: 500, count: 2 });
  await expect(intake.applyJobFacts(facts('architect/class=nightly'), 1)).rejects.toMatchObject({
    retry: 'later',
  });
  await intake.applyJobFacts(facts('architect'), 1);
  await intake.applyJobFacts(facts('architect/class=nightly'), 1);
  expect(applied).toEqual(['served', 'served']);
});

test('without the permission the operator’s policy alone counts', async () => {
  const { world } = fixture.github.simulation;
  const [installation] = world.installations.values();
  if (installation === undefined) throw new Error('the fake has one');
  world.installations.set(installation.id, { ...installation, permissions: { metadata: 'read' } });
  content('classes:\n  nightly: { cpu: 6, ram: 24 }\n');
  const { intake } = open();
  await intake.applyJobFacts(facts('architect/class=nightly'), 1);
  await intake.applyJobFacts(facts('architect'), 1);
  expect(applied).toEqual(['refused', 'served']);
});
