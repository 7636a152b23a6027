/**
 * Stand-in for the official GitHub Actions runner, for fleets whose GitHub is simulated. Same
 * command line, same shape of work (one-job.ts). One job, then the end (a JIT runner). Exit code 0:
 * the result was reported, whatever it is.
 *
 *   run.sh ──nobody waits──→ runner.ts, started now
 *          └─prepare.sh was run──→ waiting.ts, started before the configuration was known
 */
import { runOneJob } from './one-job.ts';
import { readSettings, takeJitConfig } from './settings.ts';
import { exitCodeOf, shutdownSignal } from './shutdown.ts';

async function main(): Promise<void> {
  const settings = readSettings(takeJitConfig(process.argv.slice(2), process.env));
  await runOneJob(settings, shutdownSignal());
}

process.exitCode = await exitCodeOf(main());
