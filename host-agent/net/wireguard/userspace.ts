/**
 * wireguard-go, for kernels without WireGuard: one process, whose tun device lives as long as it. Like
 * a VM it outlives the agent, so that packets flow on meanwhile; it is known by pid and start time, in
 * a file of the agent's folder, and killed by pid only.
 */
import { spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileDurably } from '../../journal/durable-file.ts';
import { isAlive, readStartTicks, waitUntilGone } from '../../vm/launch.ts';
import { WireguardError } from './wireguard-error.ts';

const PROGRAM = 'wireguard-go';
const PROCESS_FILE = 'wireguard-go.json';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const GONE_LIMIT_MS = 5_000;

const Process = z.object({ pid: z.int().min(2), startTicks: z.string() });

/** True while the process that was started last is there. */
export async function isUserspaceAlive(agentDir: string): Promise<boolean> {
  const known = await readProcess(agentDir);
  return known !== undefined && (await isAlive(known));
}

/** Resolves when the process is there and written down; its device comes a moment later. */
export async function startUserspace(at: {
  readonly agentDir: string;
  readonly fleet: string;
  readonly link: string;
}): Promise<void> {
  const { agentDir, fleet, link } = at;
  // Not execa: it ties a child's life to this process.
  const child = spawn(PROGRAM, ['-f', link], {
    detached: true,
    env: { PATH, LOG_LEVEL: 'silent', ARCHITECT_FLEET: fleet },
    cwd: '/',
    stdio: 'ignore',
  });
  const failed = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code) => resolve(`exit code ${code}`));
  });
  const { pid } = child;
  const startTicks = pid === undefined ? undefined : await readStartTicks(pid);
  if (pid === undefined || startTicks === undefined) {
    throw new WireguardError(
      `This kernel has no WireGuard, and wireguard-go cannot be started (${await failed}). ` +
        'Install the package wireguard-go, or declare the network between hosts private.',
    );
  }
  child.unref();
  await writeFileDurably(join(agentDir, PROCESS_FILE), JSON.stringify({ pid, startTicks }));
}

/** Idempotent. */
export async function endUserspace(agentDir: string): Promise<void> {
  const known = await readProcess(agentDir);
  if (known !== undefined && (await isAlive(known))) {
    process.kill(known.pid, 'SIGKILL');
    if (!(await waitUntilGone(known, GONE_LIMIT_MS)))
      throw new WireguardError(`wireguard-go (pid ${known.pid}) does not end.`);
  }
  await rm(join(agentDir, PROCESS_FILE), { force: true });
}

async function readProcess(agentDir: string) {
  const text = await readFile(join(agentDir, PROCESS_FILE), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return Process.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
