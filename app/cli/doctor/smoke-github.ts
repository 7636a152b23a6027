/**
 * What the smoke job asks of GitHub: the repository and its installation, the workflow, its runs, and
 * a new one. Source: docs.github.com, "REST API endpoints for workflows", "Create a workflow dispatch
 * event".
 */
import { z } from 'zod';
import type { GithubClient } from '../../github/client.ts';
import { GithubDeniedError } from '../../github/errors.ts';
import type { SmokeJob } from './judge-smoke.ts';
import { SMOKE_FILE, type SmokeRepository } from './smoke-workflow.ts';

const NOT_FOUND = 404;
const RUNS_LOOKED_AT = 10;

const Installation = z.object({ id: z.int() });
const Repository = z.object({ html_url: z.url(), default_branch: z.string() });
const Workflow = z.object({ state: z.string() });
const Run = z.object({
  id: z.int(),
  html_url: z.url(),
  status: z.string().nullable(),
  conclusion: z.string().nullable(),
});
const Runs = z.object({ workflow_runs: z.array(Run) });
const Jobs = z.object({
  jobs: z.array(
    z.object({
      id: z.int(),
      status: z.string(),
      conclusion: z.string().nullable(),
      runner_name: z.string().nullable(),
    }),
  ),
});

export interface SmokePlace {
  readonly owner: string;
  readonly repo: string;
}

export interface SmokeRun {
  readonly id: number;
  readonly pageUrl: string;
  readonly status: string;
  readonly conclusion: string | null;
}

export class SmokeGithub {
  readonly #client: GithubClient;
  readonly #place: SmokePlace;
  readonly #installationId: number;

  private constructor(client: GithubClient, place: SmokePlace, installationId: number) {
    this.#client = client;
    this.#place = place;
    this.#installationId = installationId;
  }

  /** Undefined: no App of ours is installed there. */
  static async open(
    client: GithubClient,
    { owner, repo }: SmokePlace,
  ): Promise<SmokeGithub | undefined> {
    const place = { owner, repo };
    for (const app of client.apps) {
      const found = await orUndefined(
        app.asApp({
          what: `find the App's installation for ${owner}/${repo}`,
          run: async (octokit) =>
            Installation.parse((await octokit.rest.apps.getRepoInstallation(place)).data),
        }),
      );
      if (found !== undefined) return new SmokeGithub(client, place, found.id);
    }
    return undefined;
  }

  async readRepository(): Promise<SmokeRepository> {
    const { data } = await this.#client.asInstallation(this.#installationId, {
      what: `read ${this.#name}`,
      run: (octokit) => octokit.rest.repos.get({ ...this.#place }),
    });
    const { html_url: pageUrl, default_branch: defaultBranch } = Repository.parse(data);
    return { pageUrl, defaultBranch };
  }

  /** GitHub's word: `active`, or how it is disabled; undefined: there is no such workflow. */
  async readWorkflowState(): Promise<string | undefined> {
    const answer = await orUndefined(
      this.#client.asInstallation(this.#installationId, {
        what: `read the workflow ${SMOKE_FILE} of ${this.#name}`,
        run: (octokit) => octokit.rest.actions.getWorkflow(this.#workflow),
      }),
    );
    return answer === undefined ? undefined : Workflow.parse(answer.data).state;
  }

  /** The newest runs that were asked for, the newest first. */
  async listRuns(): Promise<readonly SmokeRun[]> {
    const { data } = await this.#client.asInstallation(this.#installationId, {
      what: `list the runs of ${SMOKE_FILE} in ${this.#name}`,
      run: (octokit) =>
        octokit.rest.actions.listWorkflowRuns({
          ...this.#workflow,
          event: 'workflow_dispatch',
          per_page: RUNS_LOOKED_AT,
        }),
    });
    return Runs.parse(data).workflow_runs.map(runOf);
  }

  mayDispatch(): Promise<boolean> {
    return this.#client.may(this.#installationId, 'actions', 'write');
  }

  async dispatch(branch: string): Promise<void> {
    await this.#client.asInstallation(this.#installationId, {
      what: `start ${SMOKE_FILE} in ${this.#name}`,
      run: (octokit) =>
        octokit.rest.actions.createWorkflowDispatch({ ...this.#workflow, ref: branch }),
    });
  }

  readRun(runId: number): Promise<{ readonly run: SmokeRun; readonly job: SmokeJob | undefined }> {
    const place = { ...this.#place, run_id: runId };
    return this.#client.asInstallation(this.#installationId, {
      what: `read run ${runId} of ${this.#name}`,
      run: async (octokit) => {
        const run = Run.parse((await octokit.rest.actions.getWorkflowRun(place)).data);
        const { data } = await octokit.rest.actions.listJobsForWorkflowRun(place);
        const [job] = Jobs.parse(data).jobs;
        return {
          run: runOf(run),
          job: job && { ...job, id: String(job.id), runnerName: job.runner_name },
        };
      },
    });
  }

  get #name(): string {
    return `${this.#place.owner}/${this.#place.repo}`;
  }

  get #workflow() {
    return { ...this.#place, workflow_id: SMOKE_FILE };
  }
}

function runOf({ id, html_url: pageUrl, status, conclusion }: z.infer<typeof Run>): SmokeRun {
  return { id, pageUrl, status: status ?? 'queued', conclusion };
}

async function orUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof GithubDeniedError && error.status === NOT_FOUND) return undefined;
    throw error;
  }
}
