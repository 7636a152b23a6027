/**
 * Two agents on one folder would each adopt the other's VMs. The one that runs listens on a unix
 * socket in the folder; a socket that nobody answers is left over from one that was killed.
 */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { ArchitectError } from './protocol/errors.ts';

const ANSWER_LIMIT_MS = 2_000;

export class AgentRunsAlreadyError extends ArchitectError {
  readonly code = 'AGENT_RUNS_ALREADY';
  readonly retry = 'later';
}

/** Holds the folder until the server is closed. Throws AgentRunsAlreadyError. */
export async function claimAgentFolder(agentDir: string): Promise<Server> {
  const path = join(agentDir, 'agent.sock');
  if (await isAnswered(path)) throw runsAlready(agentDir);
  await rm(path, { force: true });
  const server = createServer((socket) => socket.destroy());
  server.listen(path);
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw runsAlready(agentDir, cause);
  }
  server.unref();
  return server;
}

async function isAnswered(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(ANSWER_LIMIT_MS) });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function runsAlready(agentDir: string, cause?: unknown): AgentRunsAlreadyError {
  return new AgentRunsAlreadyError(
    `A host-agent runs on ${agentDir} already. Stop it first, or give this one a folder of its own.`,
    { cause },
  );
}
