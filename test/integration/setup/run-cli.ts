/** The command line in this process, with what it wrote. */
import { runProgram } from '../../../app/cli/program.ts';

export interface CliRun {
  readonly written: () => string;
  readonly progress: () => string;
  readonly errors: () => string;
  /** 0 done, 1 refused or failed, 2 misuse. */
  readonly exit: Promise<number>;
}

export function runCli(
  argv: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  now: () => number = Date.now,
): CliRun {
  const out = { written: '', progress: '', errors: '' };
  const exit = runProgram(argv, {
    environment,
    now,
    write: (text) => {
      out.written += text;
    },
    writeProgress: (text) => {
      out.progress += text;
    },
    writeError: (text) => {
      out.errors += text;
    },
  });
  return {
    written: () => out.written,
    progress: () => out.progress,
    errors: () => out.errors,
    exit,
  };
}
