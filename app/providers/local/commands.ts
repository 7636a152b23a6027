/** The thin door to the programs that change this machine: a limit on time, typed errors. */
import { readdirSync } from 'node:fs';
import { execa, type Options } from 'execa';
import { LocalCommandError } from './local-errors.ts';
import { NETNS_DIR } from './local-names.ts';

const COMMAND_TIMEOUT_MS = 15_000;

export interface CommandOptions {
  readonly input?: string;
  readonly signal?: AbortSignal | undefined;
  /** The command's own failure is no error. */
  readonly mayFail?: boolean;
}

/** Answers what it printed. Throws LocalCommandError, or the signal's reason when it fires. */
export async function runCommand(
  command: string,
  args: readonly string[],
  { input, signal, mayFail = false }: CommandOptions = {},
): Promise<string> {
  const options: Options = {
    timeout: COMMAND_TIMEOUT_MS,
    reject: !mayFail,
    ...(input === undefined ? {} : { input }),
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  };
  try {
    const { stdout } = await execa(command, args, options);
    return typeof stdout === 'string' ? stdout : '';
  } catch (cause) {
    signal?.throwIfAborted();
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new LocalCommandError(`${command} failed: ${said}`, { cause });
  }
}

export async function runIp(lines: readonly string[], options: CommandOptions = {}): Promise<void> {
  const force = options.mayFail === true ? ['-force'] : [];
  await runCommand('ip', [...force, '-batch', '-'], { ...options, input: `${lines.join('\n')}\n` });
}

/** Names under /run/netns that start with `prefix`. */
export function listNetns(prefix: string): readonly string[] {
  try {
    return readdirSync(NETNS_DIR).filter((name) => name.startsWith(prefix));
  } catch {
    return [];
  }
}
