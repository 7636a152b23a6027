import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AgentConfig } from '../config.ts';
import { backOffMs } from './back-off.ts';
import { ControlPlaneUnreachableError } from './control-errors.ts';
import { ensureIdentity } from './enrol.ts';
import type { Identity } from './identity.ts';

/** Keeps trying while the control plane cannot be reached: the token is still good then. */
export async function obtainIdentity(parts: {
  readonly config: AgentConfig;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Promise<Identity> {
  const { config, logger, signal } = parts;
  const { agentDir, tokenFile, name: hostname } = config;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await ensureIdentity({ agentDir, tokenFile, hostname, logger, signal });
    } catch (error) {
      if (signal.aborted || !(error instanceof ControlPlaneUnreachableError)) throw error;
      logger.warn({ err: error, attempt }, 'not enrolled yet');
      await sleep(backOffMs(attempt, Math.random()), undefined, { signal });
    }
  }
}
