/**
 * One job, from the configuration to the end of the session:
 *
 *   open session → long-poll → acquire job → run it, renewing its lock and polling for a cancel
 *     → report the result → close session
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runJob } from './job.ts';
import {
  FAREWELL_TIMEOUT_MS,
  LOCK_EXTRA_MS,
  SESSION_ATTEMPTS,
  SESSION_RETRY_MS,
  ServerRefusal,
} from './retry.ts';
import { RunnerServer } from './server.ts';
import type { JobDetails, RunnerSettings, Session } from './wire.ts';

interface Online {
  readonly server: RunnerServer;
  readonly session: Session;
  readonly runnerName: string;
  readonly workDir: string;
  /** Aborts when the machine shuts down: as with the official runner, that cancels the job. */
  readonly shutdown: AbortSignal;
  lastMessageId: number;
}

/** Rejects when there was no session or no job to be had, or its result could not be reported. */
export async function runOneJob(settings: RunnerSettings, shutdown: AbortSignal): Promise<void> {
  const server = new RunnerServer(settings);
  const session = await openSession(server, shutdown);
  console.log('√ Connected to GitHub\nListening for Jobs');
  const workDir = join(homedir(), settings.workFolder);
  const runnerName = settings.agentName;
  const online = { server, session, runnerName, workDir, shutdown, lastMessageId: 0 };
  try {
    const job = await nextJob(online);
    await doJob(online, job);
  } finally {
    await server.closeSession(session, FAREWELL_TIMEOUT_MS).catch(() => {});
  }
}

async function openSession(server: RunnerServer, signal: AbortSignal): Promise<Session> {
  const sessionName = `stand-in (PID: ${process.pid}, ${Date.now()})`;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await server.openSession(sessionName, signal);
    } catch (error) {
      if (signal.aborted || attempt === SESSION_ATTEMPTS || isFinal(error)) throw error;
      console.error(`Runner connect error: ${String(error)}. Retrying until reconnected.`);
      await delay(SESSION_RETRY_MS, undefined, { signal });
    }
  }
}

/** A session conflict passes when the server notices that the old session is gone. */
function isFinal(error: unknown): boolean {
  return error instanceof ServerRefusal && error.status !== 409;
}

async function nextJob(online: Online): Promise<JobDetails> {
  for (;;) {
    const message = await nextMessage(online, online.shutdown);
    if (message?.type !== 'job') continue;
    try {
      return await online.server.acquireJob(message.jobId);
    } catch (error) {
      if (!(error instanceof ServerRefusal)) throw error;
      console.error(`The job is not to be had any more: ${error.message}`);
    }
  }
}

async function nextMessage(online: Online, signal: AbortSignal) {
  const { server, session, lastMessageId } = online;
  const message = await server.nextMessage(session, lastMessageId, signal);
  if (message !== undefined) online.lastMessageId = message.messageId;
  return message;
}

async function doJob(online: Online, job: JobDetails): Promise<void> {
  const { server, runnerName, workDir, shutdown } = online;
  console.log(`Running job: ${job.name}`);
  const cancel = new AbortController();
  const over = new AbortController();
  const signal = AbortSignal.any([cancel.signal, shutdown]);
  const environment = process.env;
  // First of all: the hook is a process of its own and works while this one goes on.
  const runnerDir = import.meta.dirname;
  const work = runJob({ server, job, runnerName, workDir, runnerDir, environment, signal });
  const beside = [
    renewLock(online, job, over.signal).then(() => cancel.abort()),
    watchForCancel(online, job, over.signal).then(() => cancel.abort()),
  ];
  try {
    const result = await work;
    await server.completeJob(job.jobId, result);
    console.log(`Job ${job.name} completed with result: ${result}`);
  } finally {
    over.abort();
    await Promise.allSettled(beside);
  }
}

/** Resolves when the job is not ours any more, or rejects when the job is over. */
async function renewLock(online: Online, job: JobDetails, over: AbortSignal): Promise<void> {
  let lockedUntilMs = Date.now();
  for (;;) {
    try {
      const { lockedForMs } = await online.server.renewJob(job.jobId, over);
      lockedUntilMs = Date.now() + lockedForMs;
    } catch (error) {
      over.throwIfAborted();
      if (error instanceof ServerRefusal || Date.now() > lockedUntilMs + LOCK_EXTRA_MS) return;
    }
    await delay(online.session.lockRenewMs, undefined, { signal: over });
  }
}

/** Resolves on a cancel message or when the server is lost, or rejects when the job is over. */
async function watchForCancel(online: Online, job: JobDetails, over: AbortSignal): Promise<void> {
  for (;;) {
    try {
      const message = await nextMessage(online, over);
      if (message?.type === 'cancel' && message.jobId === job.jobId) return;
    } catch (error) {
      over.throwIfAborted();
      console.error(`The server is lost, the job is cancelled: ${String(error)}`);
      return;
    }
  }
}
