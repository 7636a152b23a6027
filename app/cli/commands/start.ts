import type { Command } from 'commander';
import { readConfig } from '../../config.ts';
import type { Output } from '../output.ts';

const EXAMPLES = `
Configured by environment variables; see "Configuration" in README.md.

Example:
  GITHUB_APP_ID=1 GITHUB_PRIVATE_KEY_FILE=/etc/architect/key.pem \\
  GITHUB_WEBHOOK_SECRET_FILE=/etc/architect/webhook-secret architect start`;

export function addStartCommand(program: Command, output: Output): void {
  program
    .command('start')
    .description('run the control plane until it is told to stop')
    .option('--json', 'changes nothing: the log is one JSON object per line in any case')
    .addHelpText('after', EXAMPLES)
    .action(async () => {
      const config = readConfig(output.environment);
      const { startControlPlane } = await import('../../main.ts');
      const stop = awaitStopSignal();
      const controlPlane = await startControlPlane(config);
      await stop;
      await controlPlane.close();
    });
}

/** Resolves at the first Ctrl-C or SIGTERM; a second one ends the process as if untreated. */
async function awaitStopSignal(): Promise<void> {
  const told = Promise.withResolvers<void>();
  process.once('SIGINT', () => told.resolve());
  process.once('SIGTERM', () => told.resolve());
  await told.promise;
}
