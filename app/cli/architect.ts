#!/usr/bin/env node
/** The executable: hands the process's own arguments and streams to the program. */
import { runProgram } from './program.ts';

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of our pipe went away (`architect jobs | head`): nobody is left to tell.
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runProgram(process.argv.slice(2), {
  environment: process.env,
  now: Date.now,
  write: (text) => process.stdout.write(text),
  writeError: (text) => process.stderr.write(text),
});
