/**
 * QEMU's process: launched unprivileged into its network namespace and cgroup, found again, killed.
 *
 *   nsenter --net=NS → setpriv (uid, gid, no capabilities, no-new-privs) → qemu-system-x86_64
 *
 * Each replaces itself by the next, so the pid is QEMU's from the start. It has its own session and
 * only files as standard streams, so it outlives the agent, even one that is killed. A process is
 * known by pid and start time together: a pid alone may be somebody else's by now.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { chmod, open, readdir, readFile, stat } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { VmStartError } from './vm-errors.ts';

const QEMU = 'qemu-system-x86_64';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const TUN_DEVICE = '/dev/net/tun';
const GONE_POLL_MS = 5;
const LOG_TAIL_BYTES = 4_096;

export interface QemuProcess {
  readonly pid: number;
  /** Clock ticks since the host's boot (proc(5), stat, field 22). */
  readonly startTicks: string;
}

export interface Launch {
  readonly fleet: string;
  /** Uid and gid, as `qemuUser` gives them. */
  readonly user: number;
  readonly netnsPath: string;
  readonly qemuArgs: readonly string[];
  readonly procsFiles: readonly string[];
  readonly logPath: string;
}

/** `ended` settles, with how, when this agent's own child ends; it never rejects. */
export interface LaunchedQemu extends QemuProcess {
  readonly ended: Promise<string>;
}

export function launchArguments(launch: Pick<Launch, 'netnsPath' | 'qemuArgs' | 'user'>): string[] {
  return [
    `--net=${launch.netnsPath}`,
    'setpriv',
    ...[`--reuid=${launch.user}`, `--regid=${launch.user}`, '--clear-groups'],
    ...['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all'],
    QEMU,
    ...launch.qemuArgs,
  ];
}

/** Starts QEMU. Rejects with VmStartError, and then no process is left. */
export async function launchQemu(launch: Launch): Promise<LaunchedQemu> {
  await ensureTunDevice();
  await using log = await open(launch.logPath, 'a', 0o600);
  // Not execa: it ties a child's streams and life to this process, and QEMU outlives the agent.
  const child = spawn('nsenter', launchArguments(launch), {
    detached: true,
    env: { PATH, ARCHITECT_FLEET: launch.fleet },
    stdio: ['ignore', log.fd, log.fd],
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) =>
      resolve(signal ? `killed by ${signal}` : `exit code ${code}`),
    );
  });
  const { pid } = child;
  if (pid === undefined) throw new VmStartError(`QEMU could not be started: ${await ended}.`);
  child.unref();
  try {
    // Before QEMU has any thread or memory: all of it is counted.
    for (const file of launch.procsFiles) writeFileSync(file, String(pid));
    // The agent's own thread may be urgent just now (thread-priority.ts); no guest is.
    setPriority(pid, 0);
  } catch (cause) {
    child.kill('SIGKILL');
    await ended;
    throw new VmStartError("QEMU's process could not be put into its cgroup.", { cause });
  }
  const startTicks = await readStartTicks(pid);
  if (startTicks === undefined) throw new VmStartError(`QEMU ended at once: ${await ended}.`);
  return { pid, startTicks, ended };
}

/** Debian's default mode; a tap's owner, not the device's mode, says who may use the tap. */
async function ensureTunDevice(): Promise<void> {
  const { mode } = await stat(TUN_DEVICE);
  if ((mode & 0o666) !== 0o666) await chmod(TUN_DEVICE, 0o666);
}

/** Undefined when there is no such process, or only its zombie. */
export async function readStartTicks(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : parseStartTicks(text);
}

/** The name in parentheses may hold anything, so fields are counted after the last one. */
export function parseStartTicks(statLine: string): string | undefined {
  const fields = statLine.slice(statLine.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return fields[19];
}

export async function isAlive(process: QemuProcess): Promise<boolean> {
  return (await readStartTicks(process.pid)) === process.startTicks;
}

/** SIGKILL, then waits until the process is gone. Rejects with VmStartError past the limit. */
export async function killQemu(qemu: QemuProcess, limitMs: number): Promise<void> {
  if (await isAlive(qemu)) killIgnoringGone(qemu.pid);
  if (await waitUntilGone(qemu, limitMs)) return;
  throw new VmStartError(`QEMU (pid ${qemu.pid}) is still there ${limitMs} ms after SIGKILL.`);
}

export async function waitUntilGone(qemu: QemuProcess, limitMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + limitMs;
  while (performance.now() < deadlineMs) {
    if (!(await isAlive(qemu))) return true;
    await delay(GONE_POLL_MS);
  }
  return !(await isAlive(qemu));
}

function killIgnoringGone(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in between, which is what was wanted.
  }
}

/**
 * Finds the QEMU that has this QMP socket, for an agent that was killed between launching it and
 * writing down its pid.
 */
export async function findQemu(qmpSocket: string): Promise<QemuProcess | undefined> {
  const wanted = `unix:${qmpSocket},server=on,wait=off`;
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const cmdline = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    if (!cmdline.split('\0').includes(wanted)) continue;
    const startTicks = await readStartTicks(Number(entry));
    if (startTicks !== undefined) return { pid: Number(entry), startTicks };
  }
  return undefined;
}

/**
 * The last line that QEMU wrote, or undefined: the most telling one when it dies. Not a warning: it
 * writes one for each pulse of its disk's tracking.
 */
export async function readLastLogLine(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const position = Math.max(0, size - LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await file.read({
      buffer: Buffer.alloc(LOG_TAIL_BYTES),
      position,
    });
    const lines = buffer.subarray(0, bytesRead).toString('utf8').trim().split('\n');
    return lines.findLast((line) => !line.includes('warning:')) || undefined;
  } catch {
    return undefined;
  }
}
