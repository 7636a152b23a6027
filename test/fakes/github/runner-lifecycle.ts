/**
 * A JIT runner's life at the simulated GitHub.
 *
 *   registered (offline) ──session──→ idle ──offer, acquire──→ busy ──job over──→ gone
 *        └─unused too long, deleted──→ gone ←──deleted, silent too long──┘
 *
 * Invariants: a runner gets one job in its life; a busy runner is offered nothing and cannot be
 * deleted; an offer that is not taken in time goes to whoever waits then.
 */
import { chooseRunners } from './choose.ts';
import type { Job, Runner, RunnerSession } from './model.ts';
import type { RunnerMessage } from './runner-protocol.ts';
import { newSessionId, serves, type World } from './world.ts';

export class RunnerLifecycle {
  readonly #world: World;
  /** For a runner's calls after its job is over and it is gone: whose job it was. */
  readonly #jobOfToken = new Map<string, Job>();

  constructor(world: World) {
    this.#world = world;
  }

  ofToken(token: string): Runner | undefined {
    return [...this.#world.runners.values()].find((runner) => runner.token === token);
  }

  jobOfToken(token: string): Job | undefined {
    return this.#jobOfToken.get(token);
  }

  /** Undefined when another session of this runner is open. */
  openSession(runner: Runner, name: string): RunnerSession | undefined {
    const now = Date.now();
    const open = runner.session;
    if (open?.name === name) return open;
    if (open !== undefined && this.#listens(runner, now)) return undefined;
    const session = { id: newSessionId(), name, lastPollAtMs: now, messages: [], wake: undefined };
    runner.session = session;
    runner.firstOnlineAtMs ??= now;
    return session;
  }

  /** Resolves with the next message, or undefined after the long poll's time or at `gone`. */
  async poll(
    session: RunnerSession,
    lastMessageId: number,
    gone: AbortSignal,
  ): Promise<RunnerMessage | undefined> {
    session.lastPollAtMs = Date.now();
    const seen = session.messages.filter(({ messageId }) => messageId <= lastMessageId);
    session.messages.splice(0, seen.length);
    session.wake?.();
    if (session.messages.length === 0) await this.#wait(session, gone);
    session.lastPollAtMs = Date.now();
    return session.messages[0];
  }

  /** Gives waiting jobs to runners that poll; nothing else picks runners. */
  offerJobs(): void {
    const runners = [...this.#world.runners.values()].filter(isFree);
    if (runners.length === 0) return;
    const offered = new Set([...this.#world.runners.values()].map((runner) => runner.offered));
    const jobs = [...this.#world.jobs.values()].filter(
      (job) => job.status === 'queued' && !offered.has(job),
    );
    const pairs = chooseRunners(
      jobs.map((job) => ({ job, labels: job.plan.labels })),
      runners.map((runner) => ({ runner, labels: runner.labels })),
      {
        fits: (job, runner) => serves(runner.scope, job.run.repository),
        random: this.#world.random,
      },
    );
    for (const { job, runner } of pairs) {
      runner.offered = job;
      runner.offeredAtMs = Date.now();
      this.#send(runner, 'job', job);
    }
  }

  /** False when the job is not offered to this runner, or not to be had any more. */
  acquire(runner: Runner, job: Job): boolean {
    if (runner.offered !== job || job.status !== 'queued') return false;
    runner.offered = undefined;
    runner.job = job;
    this.#jobOfToken.set(runner.token, job);
    return true;
  }

  withdrawOffer(runner: Runner): void {
    const job = runner.offered;
    runner.offered = undefined;
    const session = runner.session;
    if (session === undefined) return;
    const kept = session.messages.filter((message) => message.jobId !== job?.id);
    session.messages.splice(0, session.messages.length, ...kept);
  }

  tellCancelled(job: Job): void {
    const runner = this.#runnerOf(job);
    if (runner !== undefined) this.#send(runner, 'cancel', job);
  }

  release(job: Job): void {
    for (const runner of this.#world.runners.values()) {
      if (runner.offered === job) this.withdrawOffer(runner);
      if (runner.job === job) this.remove(runner);
    }
  }

  closeSession(runner: Runner): void {
    runner.session?.wake?.();
    runner.session = undefined;
    runner.offered = undefined;
    runner.unusedSinceMs = Date.now();
  }

  remove(runner: Runner): void {
    this.#world.runners.delete(runner.id);
    this.closeSession(runner);
  }

  isOnline(runner: Runner): boolean {
    return this.#listens(runner, Date.now());
  }

  #listens({ session }: Runner, now: number): boolean {
    if (session === undefined) return false;
    const { offlineMs } = this.#world.options.durations;
    return session.wake !== undefined || now - session.lastPollAtMs < offlineMs;
  }

  #runnerOf(job: Job): Runner | undefined {
    return [...this.#world.runners.values()].find((runner) => runner.job === job);
  }

  #send(runner: Runner, type: RunnerMessage['type'], job: Job): void {
    const { session } = runner;
    if (session === undefined) return;
    session.messages.push({ messageId: this.#world.nextId(), type, jobId: job.id });
    session.wake?.();
  }

  #wait(session: RunnerSession, gone: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        gone.removeEventListener('abort', wake);
        if (session.wake === wake) session.wake = undefined;
        resolve();
      };
      const timer = setTimeout(wake, this.#world.options.durations.longPollMs);
      gone.addEventListener('abort', wake, { once: true });
      session.wake = wake;
      this.offerJobs();
    });
  }
}

function isFree(runner: Runner): boolean {
  const { session, job, offered } = runner;
  return session?.wake !== undefined && job === undefined && offered === undefined;
}
