/**
 * The stand-in, started before its configuration is known: `waiting.ts FOLDER`. In the folder are
 * three pipes, made by prepare.sh:
 *
 *   ready    one line when the rehearsal is over
 *   config   run.sh writes the configuration, one line; then the folder is removed
 *   result   the exit code, one line; its end without one means that this process died
 *
 * A template is captured while this waits, so a clone neither starts node nor compiles anything.
 * Invariants: the configuration is in no argument list and in no first environment block; nothing
 * random is drawn here that must differ between clones (pauses between attempts need not).
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { runOneJob } from './one-job.ts';
import { rehearse } from './rehearsal.ts';
import { readSettings } from './settings.ts';
import { exitCodeOf, shutdownSignal } from './shutdown.ts';

const REHEARSALS = 5;
const MAX_CONFIG_BYTES = 64 * 1024;

/** One line; the pipe's writer need not be there yet. */
async function readLine(path: string): Promise<string> {
  // Opened for both, so that neither side waits for the other to open it.
  await using pipe = await open(path, 'r+');
  const buffer = Buffer.alloc(MAX_CONFIG_BYTES);
  for (let length = 0; length < MAX_CONFIG_BYTES; ) {
    const { bytesRead } = await pipe.read(buffer, length, MAX_CONFIG_BYTES - length);
    length += bytesRead;
    const text = buffer.toString('utf8', 0, length);
    if (text.endsWith('\n')) return text.trim();
  }
  throw new Error('The configuration is too long.');
}

async function main(folder: string): Promise<void> {
  const shutdown = shutdownSignal();
  for (let n = 0; n < REHEARSALS; n += 1) await rehearse(shutdown);
  const result = openSync(join(folder, 'result'), 'r+');
  const config = readLine(join(folder, 'config'));
  const ready = openSync(join(folder, 'ready'), 'r+');
  writeSync(ready, 'ready\n');
  const settings = readSettings(await config);
  closeSync(ready);
  rmSync(folder, { recursive: true });
  const code = await exitCodeOf(runOneJob(settings, shutdown));
  writeSync(result, `${code}\n`);
  process.exit(code);
}

await main(process.argv[2] ?? '');
