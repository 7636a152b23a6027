/**
 * From the queue to the records: each event becomes facts about a job, the facts go to the records,
 * and the reconciler is asked to look. An event that fails is tried again by the queue, then dropped
 * with an error in the log: GitHub is asked about known jobs anyway, and a redelivery is taken.
 */
import { type Job, UnrecoverableError, Worker } from 'bullmq';
import type { Logger } from 'pino';
import { factsOfEvent } from '../github/job-facts.ts';
import { parseLabel } from '../labels/grammar.ts';
import { type JobFacts, vmIdOfRunner } from '../records/records.ts';
import type { OpenRedis } from '../redis/open-redis.ts';
import { WHY_REMOVED, WHY_SUSPENDED } from './close-installation.ts';
import { type InstallationEvent, QueuedEvent } from './delivery.ts';
import type { JobIntake } from './ports.ts';
import { INTAKE_QUEUE } from './queue.ts';

const CONCURRENCY = 16;
const CLOSE_TIMEOUT_MS = 5_000;

export interface IntakeWorkerOptions {
  readonly redis: Pick<OpenRedis, 'connections' | 'keyPrefix'>;
  readonly intake: JobIntake;
  /** Whose installation it is, where there are several Apps. */
  readonly appOf?: (installationId: number) => Promise<number | undefined>;
  readonly logger: Logger;
}

export interface IntakeWorker {
  /** Lets the events that are being worked on end, for CLOSE_TIMEOUT_MS at most. */
  close(): Promise<void>;
}

/** Works until closed; while Redis is away it waits and resumes by itself. */
export function startIntakeWorker(options: IntakeWorkerOptions): IntakeWorker {
  const { redis, logger } = options;
  const work = (job: Job<unknown>) => takeEvent(job.data, options);
  const worker = new Worker<unknown, void>(INTAKE_QUEUE, work, {
    connection: redis.connections.openBlocking(),
    prefix: redis.keyPrefix,
    concurrency: CONCURRENCY,
    skipVersionCheck: true,
  });
  worker.on('error', (err) => logger.debug({ err }, 'intake worker'));
  worker.on('failed', (job, err) => {
    const attempt = job?.attemptsMade;
    const final = job === undefined || err instanceof UnrecoverableError || isLast(job);
    const level = final ? 'error' : 'warn';
    logger[level]({ err, deliveryId: job?.id, attempt, final }, 'an event could not be taken in');
  });
  return { close: () => closeWorker(worker) };
}

function isLast(job: Job<unknown>): boolean {
  return job.attemptsMade >= (job.opts.attempts ?? 1);
}

type Taking = Pick<IntakeWorkerOptions, 'intake' | 'appOf' | 'logger'>;

async function takeEvent(data: unknown, taking: Taking): Promise<void> {
  const { intake, logger } = taking;
  const parsed = QueuedEvent.safeParse(data);
  // It was checked before it was queued: this is another version's, and no attempt will mend it.
  if (!parsed.success) throw new UnrecoverableError('the queued event is not understood');
  const event = parsed.data;
  if (!(await speaksForItsOwn(event, taking))) return;
  if (event.name === 'installation') return takeInstallation(event.payload, taking);
  const facts = factsOfEvent(event.payload);
  if (facts === undefined || !concernsUs(facts)) return;
  await intake.applyJobFacts(facts, event.receivedAtMs);
  logger.info({ jobId: facts.id, status: facts.status }, 'a job event was taken in');
  intake.nudge();
}

/** An App's secret signs for its own installations only. What is of no App, the poll knows about. */
async function speaksForItsOwn(
  { appId, payload }: QueuedEvent,
  { appOf, logger }: Taking,
): Promise<boolean> {
  const installationId = payload.installation?.id;
  if (appId === undefined || installationId === undefined) return true;
  if ((await appOf?.(installationId)) === appId) return true;
  logger.warn({ appId, installationId }, "an event is refused: the installation is not its App's");
  return false;
}

async function takeInstallation(
  { action, installation: { id } }: InstallationEvent,
  { intake, logger }: Pick<Taking, 'intake' | 'logger'>,
): Promise<void> {
  logger.info({ action, installationId: id }, 'an installation changed');
  if (action === 'suspend') await intake.closeInstallation(id, WHY_SUSPENDED);
  if (action === 'deleted') await intake.closeInstallation(id, WHY_REMOVED);
  intake.nudge();
}

/** Its labels are ours, or GitHub has given it a runner with one of our names. */
function concernsUs({ labels, runnerName }: JobFacts): boolean {
  if (runnerName !== null && vmIdOfRunner(runnerName) !== undefined) return true;
  return labels.some((label) => parseLabel(label).kind !== 'not-ours');
}

async function closeWorker(worker: Worker): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
  // Its connection is closed with the others, by whoever opened them.
  await Promise.race([worker.close().catch(() => undefined), promise]);
  clearTimeout(timer);
}
