/** `/healthz`: this process is alive. `/readyz`: what it needs is there, each named. No token needed. */
import type { z } from 'zod';
import type { Readiness } from './ports.ts';
import type { HealthView } from './views.ts';

const CHECK_TIMEOUT_MS = 3_000;

export interface HealthAnswer {
  readonly status: 200 | 503;
  readonly body: z.infer<typeof HealthView>;
}

/** The answer for a health path, undefined for any other path; never throws. */
export async function answerHealth(
  path: string,
  readiness: Readiness,
): Promise<HealthAnswer | undefined> {
  if (path === '/healthz') return { status: 200, body: { ready: true, checks: [] } };
  if (path !== '/readyz') return undefined;
  const checks = await readChecks(readiness);
  const ready = checks.every((check) => check.ready);
  return { status: ready ? 200 : 503, body: { ready, checks } };
}

async function readChecks(readiness: Readiness): Promise<HealthAnswer['body']['checks']> {
  try {
    return [...(await readiness.check(AbortSignal.timeout(CHECK_TIMEOUT_MS)))];
  } catch (error) {
    const detail = error instanceof Error ? error.message : 'the check itself failed';
    return [{ name: 'readiness', ready: false, detail }];
  }
}
