import type { Command } from 'commander';
import { readConfig } from '../../config.ts';
import { withConfigFile } from '../../settings/read-settings.ts';
import type { Output } from '../output.ts';

const EXAMPLES = `
Configured by /etc/architect/architect.yaml (see "Configuration" in README.md); environment
variables override it.

Examples:
  architect start
  architect start --config ./architect.yaml`;

export function addStartCommand(program: Command, output: Output): void {
  program
    .command('start')
    .description('run the control plane until it is told to stop')
    .option('--config <file>', 'instead of ARCHITECT_CONFIG and the usual place')
    .option('--json', 'changes nothing: the log is one JSON object per line in any case')
    .addHelpText('after', EXAMPLES)
    .action(async ({ config: file }: { readonly config?: string }) => {
      const config = readConfig(withConfigFile(output.environment, file));
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
