/** Where the demo's report goes, looked at before the job rather than after it. */
import { access, constants } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CliError } from '../cli/cli-error.ts';

/** Throws CliError. Creates nothing, so that a run which is stopped leaves nothing. */
export async function requireFolder(path: string): Promise<void> {
  const folder = dirname(resolve(path));
  try {
    await access(folder, constants.W_OK);
  } catch (cause) {
    const what = `Cannot write the report: ${folder} is not there or cannot be written to.`;
    throw new CliError(`${what} Name another file by --report.`, { cause });
  }
}
