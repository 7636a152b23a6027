#!/usr/bin/env node
/** The executable: hands the process's own arguments and streams to the program. */
import { runProgram } from './program.ts';

let readerGone = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  // The reader of our pipe went away (`architect jobs | head`): end as if told to, cleaning up.
  if (!readerGone) process.kill(process.pid, 'SIGTERM');
  readerGone = true;
});

process.exitCode = await runProgram(process.argv.slice(2), {
  environment: process.env,
  now: Date.now,
  write: (text) => process.stdout.write(text),
  writeProgress: (text) => process.stderr.write(text),
  writeError: (text) => process.stderr.write(text),
});
