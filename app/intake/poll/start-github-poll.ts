/** Puts the poll together over the real client. */
import type { GithubClient } from '../../github/client.ts';
import { listDeliveries, redeliver } from '../../github/delivery-log.ts';
import type { JobPlace } from '../../github/job-facts.ts';
import { askRerun, readRun } from '../../github/reruns.ts';
import { listInstallations, listOpenJobs, listRepositories } from '../../github/survey.ts';
import type { JobIntake } from '../ports.ts';
import { GithubPoll, type GithubPollOptions } from './github-poll.ts';
import { JobPoll, type JobPollPorts, type JobSurvey } from './poll-jobs.ts';
import { RunnerPoll, type RunnerPollPorts } from './poll-runners.ts';
import { Redelivery } from './redeliver-failed.ts';
import { Reruns } from './rerun-lost.ts';

export interface GithubPolling
  extends Omit<JobPollPorts, 'survey' | 'intake'>,
    Omit<GithubPollOptions, 'survey' | 'jobs' | 'runners' | 'reruns' | 'redeliveries' | 'nudge'> {
  readonly client: GithubClient;
  readonly runners: RunnerPollPorts['runners'];
  readonly intake: JobIntake;
}

export interface StartedGithubPoll {
  round(): Promise<void>;
  /** The round under way ends with the look that it is at. */
  close(): Promise<void>;
}

export function startGithubPoll(polling: GithubPolling): StartedGithubPoll {
  const { client, intake } = polling;
  let closing = false;
  const survey = surveyOf(polling, () => !closing);
  const jobs = new JobPoll({ ...polling, survey });
  const redeliveries = client.apps.map((app) => {
    const list = (sinceMs: number) => listDeliveries(app, sinceMs);
    const mayRedeliver = () => app.mayUseLog('write');
    const log = { list, mayRedeliver, redeliver: (id: number) => redeliver(app, id) };
    return new Redelivery({ ...polling, log });
  });
  const mayList = (place: JobPlace) => !closing && polling.runners.mayList(place);
  const runners = new RunnerPoll({ ...polling, runners: { ...polling.runners, mayList } });
  const reruns = new Reruns({
    ...polling,
    reruns: {
      readRun: (origin) => readRun(client, origin),
      askRerun: (origin, plan) => askRerun(client, origin, plan),
      mayPoll: survey.mayPoll,
    },
  });
  const nudge = () => intake.nudge();
  const poll = new GithubPoll({ ...polling, survey, jobs, runners, reruns, redeliveries, nudge });
  poll.start();
  return {
    round: () => poll.round(),
    close: () => {
      closing = true;
      return poll.close();
    },
  };
}

function surveyOf(
  { client, logger }: Pick<GithubPolling, 'client' | 'logger'>,
  goesOn: () => boolean,
): JobSurvey {
  const mayPoll = (installationId: number) => goesOn() && client.mayPoll(installationId);
  return {
    installations: () => listInstallations(client, logger),
    repositories: (installationId) => listRepositories(client, installationId),
    openJobs: (place) => listOpenJobs({ client, place, goOn: () => mayPoll(place.installationId) }),
    mayPoll,
  };
}
