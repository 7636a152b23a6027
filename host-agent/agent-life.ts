/** What a host-agent does around its work, in whichever role: its folder is its own, its status is shown. */
import { mkdir } from 'node:fs/promises';
import type { Logger } from 'pino';
import { StatusFile } from './control/status-file.ts';
import { claimAgentFolder } from './single-instance.ts';

const MAX_WHY = 1_000;

export interface AgentLife {
  readonly agentDir: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Runs `work` with the folder claimed; once the signal has come, its failures are its end. Throws
 * AgentRunsAlreadyError, or what `work` throws: the status file then says why.
 */
export async function liveIn(
  { agentDir, logger, signal }: AgentLife,
  work: (status: StatusFile) => Promise<void>,
): Promise<void> {
  await mkdir(agentDir, { recursive: true, mode: 0o755 });
  const claim = await claimAgentFolder(agentDir);
  const status = new StatusFile(agentDir, logger);
  try {
    await status.show({ state: 'connecting', atMs: Date.now() });
    await work(status);
  } catch (error) {
    if (signal.aborted) return;
    const why = error instanceof Error ? error.message.slice(0, MAX_WHY) : 'unknown error';
    await status.show({ state: 'failed', atMs: Date.now(), why });
    throw error;
  } finally {
    claim.close();
  }
}
