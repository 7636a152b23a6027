/** The poll over the real client and real Redis, asking a simulated GitHub. */
import { join } from 'node:path';
import { pino } from 'pino';
import { EvidenceStore } from '../../../app/evidence/evidence-store.ts';
import { createGithubApps } from '../../../app/github/apps.ts';
import { createTokenClient } from '../../../app/github/client.ts';
import { createGithubJobSource } from '../../../app/github/job-source.ts';
import { createGithubRunners } from '../../../app/github/runners.ts';
import { classifyFacts } from '../../../app/intake/classify-facts.ts';
import { createJobIntake } from '../../../app/intake/job-intake.ts';
import { startGithubPoll } from '../../../app/intake/poll/start-github-poll.ts';
import { DEFAULT_POLICY } from '../../../app/labels/policy.ts';
import { RecordStore } from '../../../app/records/record-store.ts';
import type { JobFacts } from '../../../app/records/records.ts';
import { GitHubFixture } from '../../contract/github/fixture.ts';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { POOL } from '../../fixtures/protocol.ts';
import { startTestRedis } from '../records/redis-server.ts';
import { appsAt } from './two-apps.ts';

/** Rounds are made by hand. */
const NEVER_MS = 3_600_000;

export type PollRig = Awaited<ReturnType<typeof startPollRig>>;

export async function startPollRig(given: Partial<GivenOptions> = {}) {
  const fixture = await GitHubFixture.start(given);
  const redis = await startTestRedis();
  const evidence = EvidenceStore.open(join(redis.folder, 'evidence.db'));
  const store = new RecordStore({ redis: redis.connect(), fleet: 'test' });
  const logger = pino({ level: 'silent' });
  const apiUrl = `${fixture.github.url}${given.restPath ?? ''}`;
  const github = appsAt(apiUrl, given);
  const client = createGithubApps({ github, logger });
  const classify = (facts: JobFacts) =>
    classifyFacts(facts, { policy: DEFAULT_POLICY, pool: POOL, evidence });
  const book = { store, evidence, classify };
  const told: string[] = [];
  let nudges = 0;
  let aheadMs = 0;
  const nudge = () => {
    nudges += 1;
  };
  const notices = {
    refused: async ({ id }: { readonly id: string }) => {
      told.push(id);
    },
  };
  const intake = createJobIntake({ book, notices, nudge, logger });
  const jobSource = createGithubJobSource({ client, logger });
  const enterprise = given.enterprise && {
    ...{ ...given.enterprise, runnerGroupId: 1 },
    client: createTokenClient({ github, token: given.enterprise.token, logger }),
  };
  const runners = createGithubRunners({ client, enterprise });
  const poll = startGithubPoll({
    ...{ client, book, intake, jobSource, runners, logger },
    ...{ now: () => Date.now() + aheadMs, isLeader: () => true, intervalMs: NEVER_MS },
  });
  return {
    ...{ fixture, store, evidence, client, runners, told, poll },
    nudges: () => nudges,
    /** The poll's clock; the simulated GitHub's stays. */
    passMs: (ms: number) => {
      aheadMs += ms;
    },
    close: async () => {
      await poll.close();
      evidence.close();
      await redis.stop();
      await fixture.close();
    },
  };
}
