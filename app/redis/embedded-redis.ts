/**
 * The private redis-server of a control plane that was given no REDIS_URL.
 *
 *     start: claim data folder ── stop a leftover ── spawn ── answers PING ── running
 *     running: exit that nobody asked for ── wait ── spawn again (RESTART_DELAYS_MS)
 *
 * Invariants:
 * - One live owner per data folder: `owner.json` names owner and server, each by pid and start time.
 * - The server ends with its owner, also when that is killed (PR_SET_PDEATHSIG through setpriv).
 * - It listens on a unix socket in a folder of mode 0700 and on no TCP port.
 * - A failed start leaves no server running.
 */
import { chmod, mkdir, readFile, rm, statfs } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Logger } from 'pino';
import { z } from 'zod';
import { writeDurably } from '../durable-file.ts';
import { isRunning, ProcessRef, readProcess, signalProcess } from '../process-ref.ts';
import { RedisStartError } from './errors.ts';
import { answersPing } from './ping.ts';
import {
  fitsSocketPath,
  type ServerPaths,
  serverArguments,
  serverPaths,
} from './server-settings.ts';

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 8_000;
const POLL_MS = 25;
const CHECK_AOF_TIMEOUT_MS = 10_000;
const RESTART_DELAYS_MS = [100, 1_000, 5_000, 15_000];
const MIN_FREE_BYTES = 32 * 1024 * 1024;
/** setpriv(1) answers like a shell when the program to run is not there. */
const EXIT_NOT_FOUND = 127;

const OwnerFile = z.object({ owner: ProcessRef, server: ProcessRef });

export interface EmbeddedRedisOptions {
  readonly dataDir: string;
  readonly fleet: string;
  readonly logger: Logger;
  /** For tests: the program to run instead of the one on the PATH. */
  readonly program?: string;
}

export interface EmbeddedRedis {
  readonly socketPath: string;
  readonly pid: () => number | undefined;
  /** Idempotent; afterwards no server of this folder runs, and what it held is on disk. */
  stop(): Promise<void>;
}

/**
 * Throws RedisStartError, with what to do in its message, when the server cannot come up in
 * START_TIMEOUT_MS or when another control plane owns the folder; no server is left running then.
 */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const paths = serverPaths(options.dataDir);
  await prepareFolder(paths);
  await endLeftover(paths);
  const supervisor = new Supervisor(options, paths);
  await supervisor.start();
  return {
    socketPath: paths.socket,
    pid: () => supervisor.pid,
    stop: () => supervisor.stop(),
  };
}

async function prepareFolder(paths: ServerPaths): Promise<void> {
  if (!fitsSocketPath(paths.socket)) {
    throw new RedisStartError(`${paths.socket} is too long for a socket. Shorten ARCHITECT_HOME.`);
  }
  await mkdir(paths.dir, { recursive: true, mode: 0o700 });
  await chmod(paths.dir, 0o700);
  const disk = await statfs(paths.dir);
  const freeBytes = disk.bavail * disk.bsize;
  if (freeBytes < MIN_FREE_BYTES) {
    throw new RedisStartError(
      `The disk of ${paths.dir} is full. Free at least ${MIN_FREE_BYTES / 2 ** 20} MiB and start again.`,
      { context: { freeBytes } },
    );
  }
}

/** Throws when the folder's owner lives; otherwise the server it left behind is stopped. */
async function endLeftover(paths: ServerPaths): Promise<void> {
  const text = await readFile(paths.owner, 'utf8').catch(() => '{}');
  const file = OwnerFile.safeParse(parseJson(text)).data;
  if (file === undefined) return;
  if (file.owner.pid !== process.pid && isRunning(file.owner)) {
    throw new RedisStartError(
      `Another control plane (process ${file.owner.pid}) uses ${paths.dir}. Stop it first.`,
    );
  }
  await endProcess(file.server);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A file torn by a crash names nobody.
    return undefined;
  }
}

async function endProcess(target: ProcessRef): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    signalProcess(target, signal);
    if (await pollUntil(async () => !isRunning(target), STOP_TIMEOUT_MS)) return;
  }
}

async function pollUntil(done: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (performance.now() < deadlineMs) {
    if (await done()) return true;
    await sleep(POLL_MS);
  }
  return done();
}

/** Not a promise itself: an async function would wait for one that it returns. */
interface ServerProcess {
  readonly pid: number | undefined;
  readonly ended: Promise<{ readonly exitCode: number | undefined }>;
}

function spawnServer(options: EmbeddedRedisOptions, paths: ServerPaths): ServerProcess {
  const program = options.program ?? 'redis-server';
  const child = execa('setpriv', ['--pdeathsig', 'TERM', program, ...serverArguments(paths)], {
    env: { ARCHITECT_FLEET: options.fleet },
    stdio: 'ignore',
    reject: false,
    // A terminal's Ctrl-C is for the owner, which stops the server in order.
    detached: true,
  });
  return { pid: child.pid, ended: child.then(({ exitCode }) => ({ exitCode })) };
}

class Supervisor {
  pid: number | undefined;
  readonly #options: EmbeddedRedisOptions;
  readonly #paths: ServerPaths;
  readonly #stopping = new AbortController();
  #watching: Promise<void> | undefined;

  constructor(options: EmbeddedRedisOptions, paths: ServerPaths) {
    this.#options = options;
    this.#paths = paths;
  }

  async start(): Promise<void> {
    const server = await this.#launch();
    this.#watching = this.#watch(server);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    const running = this.pid === undefined ? undefined : readProcess(this.pid);
    if (running !== undefined) await endProcess(running);
    await this.#watching;
    await rm(this.#paths.owner, { force: true });
  }

  async #launch(): Promise<ServerProcess> {
    const server = spawnServer(this.#options, this.#paths);
    try {
      await this.#awaitAnswer(server);
    } catch (error) {
      const left = server.pid === undefined ? undefined : readProcess(server.pid);
      if (left !== undefined) await endProcess(left);
      throw error;
    }
    this.pid = server.pid;
    return server;
  }

  async #awaitAnswer(server: ServerProcess): Promise<void> {
    if (server.pid !== undefined) await writeOwner(this.#paths, server.pid);
    const answered = pollUntil(
      async () => !(await stillRuns(server)) || (await answersPing(this.#paths.socket)),
      START_TIMEOUT_MS,
    );
    const outcome = await Promise.race([server.ended, answered]);
    if (typeof outcome === 'object') throw await startFailure(outcome.exitCode, this.#paths);
    if (!outcome) {
      throw new RedisStartError(
        `redis-server did not answer within ${START_TIMEOUT_MS} ms. See ${this.#paths.log}.`,
      );
    }
    if (!(await stillRuns(server))) {
      throw await startFailure((await server.ended).exitCode, this.#paths);
    }
  }

  async #watch(first: ServerProcess): Promise<void> {
    const { signal } = this.#stopping;
    let server: ServerProcess | undefined = first;
    let failures = 0;
    while (!signal.aborted) {
      const ended = await server?.ended;
      this.pid = undefined;
      if (signal.aborted) return;
      const delayMs = RESTART_DELAYS_MS[Math.min(failures, RESTART_DELAYS_MS.length - 1)];
      this.#options.logger.error(
        { exitCode: ended?.exitCode, delayMs },
        'the private redis-server is gone; it is started again',
      );
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      server = await this.#launch().catch((err: unknown) => {
        this.#options.logger.error({ err }, 'the private redis-server did not start');
        return undefined;
      });
      failures = server === undefined ? failures + 1 : 0;
    }
    // stop() may have come while the server was being started.
    const late = server?.pid === undefined ? undefined : readProcess(server.pid);
    if (late !== undefined) await endProcess(late);
  }
}

async function stillRuns(server: ServerProcess): Promise<boolean> {
  return server.pid !== undefined && readProcess(server.pid) !== undefined;
}

async function writeOwner(paths: ServerPaths, serverPid: number): Promise<void> {
  const owner = readProcess(process.pid);
  const server = readProcess(serverPid);
  if (owner === undefined || server === undefined) return;
  await writeDurably(paths.owner, JSON.stringify({ owner, server }));
}

async function startFailure(
  exitCode: number | undefined,
  paths: ServerPaths,
): Promise<RedisStartError> {
  const context = { exitCode };
  if (exitCode === undefined || exitCode === EXIT_NOT_FOUND) {
    return new RedisStartError(
      'redis-server or setpriv is not installed. Run "npm run setup", or set REDIS_URL.',
      { context },
    );
  }
  const check = await execa('redis-check-aof', [paths.appendOnlyManifest], {
    reject: false,
    stdin: 'ignore',
    timeout: CHECK_AOF_TIMEOUT_MS,
  });
  if (check.exitCode === 1) {
    return new RedisStartError(
      `Redis cannot read what it wrote to ${paths.dir}. Repair it with "redis-check-aof --fix ${paths.appendOnlyManifest}", or delete that folder: the control plane rebuilds it from GitHub and the hosts.`,
      { context },
    );
  }
  return new RedisStartError(`redis-server ended while starting. See ${paths.log}.`, { context });
}
