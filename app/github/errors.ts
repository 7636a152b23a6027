/**
 * From what Octokit throws to what the control plane knows. The original is not kept as the cause:
 * it carries the request and the answer, and with them tokens and runner configurations.
 */
import { z } from 'zod';
import { ArchitectError, type ErrorDetail } from '../../host-agent/protocol/errors.ts';

/** GitHub did not answer, or answered that something broke on its side. */
export class GithubAwayError extends ArchitectError {
  readonly code = 'GITHUB_AWAY';
  readonly retry = 'later';
}

/** GitHub understood and said no: a missing permission, a missing thing, a value it does not take. */
export class GithubDeniedError extends ArchitectError {
  readonly code = 'GITHUB_DENIED';
  readonly retry = 'never';
  readonly status: number;

  constructor(message: string, status: number, detail: ErrorDetail = {}) {
    super(message, { ...detail, context: { ...detail.context, status } });
    this.status = status;
  }
}

/** A rate limit; no request is sent before `retryAtMs` (wall clock). */
export class GithubRateLimitedError extends ArchitectError {
  readonly code = 'GITHUB_RATE_LIMITED';
  readonly retry = 'later';
  readonly retryAtMs: number;

  constructor(message: string, retryAtMs: number) {
    super(message, { context: { retryAtMs } });
    this.retryAtMs = retryAtMs;
  }
}

/** Our own pace has no room for it within the minute; nothing was sent. */
export class GithubPacedError extends ArchitectError {
  readonly code = 'GITHUB_PACED';
  readonly retry = 'later';
}

/** A runner of this name exists and works on a job. */
export class RunnerNameTakenError extends ArchitectError {
  readonly code = 'RUNNER_NAME_TAKEN';
  readonly retry = 'later';
}

export interface HttpAnswer {
  /** 0: there was none. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number | undefined>>;
}

/** GitHub's advice where a secondary limit names no time. */
const DEFAULT_RATE_LIMIT_MS = 60_000;
const MAX_RATE_LIMIT_MS = 3_600_000;

/**
 * When to ask again, for an answer that is a rate limit; undefined for any other.
 * Source: docs.github.com, "Rate limits for the REST API".
 */
export function parseRateLimit({ status, headers }: HttpAnswer, nowMs: number): number | undefined {
  if (status !== 403 && status !== 429) return undefined;
  const retryAfterMs = Number(headers['retry-after']) * 1000;
  if (Number.isFinite(retryAfterMs)) return nowMs + clampWait(retryAfterMs);
  if (String(headers['x-ratelimit-remaining']) === '0') {
    const resetMs = Number(headers['x-ratelimit-reset']) * 1000;
    return nowMs + clampWait(Number.isFinite(resetMs) ? resetMs - nowMs : DEFAULT_RATE_LIMIT_MS);
  }
  return status === 429 ? nowMs + DEFAULT_RATE_LIMIT_MS : undefined;
}

function clampWait(waitMs: number): number {
  return Math.min(Math.max(waitMs, 1_000), MAX_RATE_LIMIT_MS);
}

/** `what` says what was tried, for the message: "register a runner with octo". */
export function toGithubError(error: unknown, what: string, nowMs: number): ArchitectError {
  if (error instanceof ArchitectError) return error;
  // Octokit wraps what stopped a request before it was sent.
  if (error instanceof Error && error.cause instanceof GithubPacedError) return error.cause;
  const answer = answerOf(error);
  const retryAtMs = parseRateLimit(answer, nowMs);
  if (retryAtMs !== undefined) {
    return new GithubRateLimitedError(`GitHub limits the rate; could not ${what}.`, retryAtMs);
  }
  const { status } = answer;
  // A 401 is a token that GitHub forgot: the next attempt gets a new one.
  if (status === 0 || status >= 500 || status === 401 || status === 408) {
    const context = { status, cause: error instanceof Error ? error.name : undefined };
    return new GithubAwayError(`GitHub did not answer as it should; could not ${what}.`, {
      context,
    });
  }
  return new GithubDeniedError(
    `GitHub refused (${status}) to ${what}.${adviceFor(status)}`,
    status,
  );
}

function adviceFor(status: number): string {
  if (status === 403) return " Check the App's permissions and that they were accepted.";
  if (status === 404) return ' Check that the App is installed there and may see it.';
  return '';
}

/** An error of Octokit's that carries GitHub's answer; it gives 500 to those that carry none. */
const AnsweredError = z.object({
  status: z.int(),
  response: z.object({
    headers: z.record(z.string(), z.union([z.string(), z.number()]).optional()),
  }),
});

function answerOf(error: unknown): HttpAnswer {
  const answered = AnsweredError.safeParse(error).data;
  if (answered === undefined) return { status: 0, headers: {} };
  return { status: answered.status, headers: answered.response.headers };
}
