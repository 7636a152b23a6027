/** The parts put together: what routes, control API and in-process tests act on. */
import { createHash } from 'node:crypto';
import { JobLifecycle } from './job-lifecycle.ts';
import type { Installation, Job, Repository, Run } from './model.ts';
import type { Options } from './options.ts';
import { installationEvent } from './payload-account.ts';
import { workflowJobEvent } from './payload-actions.ts';
import { RateLimits } from './rate-limit.ts';
import { RunnerLifecycle } from './runner-lifecycle.ts';
import { Sweeper } from './sweep.ts';
import { Tokens } from './tokens.ts';
import { Webhooks } from './webhooks.ts';
import { parseWorkflow, triggersOf, WorkflowError } from './workflow.ts';
import { World } from './world.ts';

/** Of workflows that are pushed without a name of their file. */
const PUSHED_PATH = '.github/workflows/ci.yml';

/** So many API calls whose path matches are answered with `status` instead. */
export interface ApiFault {
  readonly path: RegExp;
  readonly method: string | undefined;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  count: number;
}

export class Simulation {
  readonly world: World;
  readonly tokens: Tokens;
  readonly limits: RateLimits;
  readonly webhooks: Webhooks;
  readonly runners: RunnerLifecycle;
  readonly jobs: JobLifecycle;
  readonly sweeper: Sweeper;
  readonly apiFaults: ApiFault[] = [];
  /** Each API call's connection is cut; webhooks are a fault of their own. */
  unreachable = false;
  /** How many were cut. */
  cut = 0;

  constructor(options: Options) {
    this.world = new World(options);
    this.tokens = new Tokens(this.world);
    this.limits = new RateLimits(options.limits, options.durations);
    this.webhooks = new Webhooks(this.world);
    this.runners = new RunnerLifecycle(this.world);
    this.jobs = new JobLifecycle(this.world, {
      announce: (job, action) => this.#announce(job, action),
      offer: () => this.runners.offerJobs(),
      tellCancelled: (job) => this.runners.tellCancelled(job),
      release: (job) => this.runners.release(job),
    });
    this.sweeper = new Sweeper(this.world, this.jobs, this.runners);
    const acme = this.world.addAccount('acme', 'Organization');
    this.world.addRepository(acme, 'widgets');
    this.world.addInstallation(acme, options.permissions);
  }

  /** Starts a run. Throws WorkflowError. */
  push(repository: Repository, yaml: string, branch = 'main'): Run {
    return this.#start(repository, yaml, { branch, path: PUSHED_PATH, event: 'push' });
  }

  /** Starts a run of a workflow of the default branch. Throws WorkflowError. */
  dispatch(repository: Repository, path: string, branch = 'main'): Run {
    const yaml = repository.files?.get(path) ?? '';
    if (!triggersOf(yaml).includes('workflow_dispatch'))
      throw new WorkflowError("Workflow does not have 'workflow_dispatch' trigger");
    return this.#start(repository, yaml, { branch, path, event: 'workflow_dispatch' });
  }

  #start(repository: Repository, yaml: string, by: Pick<Run, 'branch' | 'path' | 'event'>): Run {
    const { branch, event } = by;
    const id = this.world.nextId();
    const number =
      [...this.world.runs.values()].filter((r) => r.repository === repository).length + 1;
    const sha = createHash('sha1').update(String(id)).digest('hex');
    const plan = parseWorkflow(yaml, {
      run_id: id,
      run_number: number,
      run_attempt: 1,
      sha,
      ref: `refs/heads/${branch}`,
      ref_name: branch,
      repository: `${repository.owner.login}/${repository.name}`,
      repository_owner: repository.owner.login,
      actor: repository.owner.login,
      event_name: event,
    });
    const run = this.world.addRun(repository, { ...by, id, number, workflowName: plan.name, sha });
    this.jobs.queue(run, plan.jobs);
    return run;
  }

  /** What the App hears when an account installs, suspends or removes it. */
  announceInstallation(
    installation: Installation,
    action: 'created' | 'deleted' | 'suspend' | 'unsuspend',
  ): void {
    this.webhooks.send({
      event: 'installation',
      action,
      payload: installationEvent(this.world, installation, action),
      appId: installation.appId,
      installationId: installation.id,
      repositoryId: null,
    });
  }

  #announce(job: Job, action: 'queued' | 'in_progress' | 'completed'): void {
    const { repository } = job.run;
    for (const installation of this.world.installationsOf(repository.owner)) {
      if (installation.suspendedAtMs !== undefined) continue;
      this.webhooks.send({
        event: 'workflow_job',
        action,
        payload: workflowJobEvent(this.world, { job, installation }, action),
        appId: installation.appId,
        installationId: installation.id,
        repositoryId: repository.id,
        onSend: () => {
          if (action === 'queued') job.webhookSentAtMs ??= Date.now();
        },
      });
    }
  }
}
