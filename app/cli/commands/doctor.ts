import type { Command } from 'commander';
import { withConfigFile } from '../../settings/read-settings.ts';
import { CliError } from '../cli-error.ts';
import { type Output, show } from '../output.ts';
import { presentFindings } from '../present-findings.ts';

const EXAMPLES = `
Looks at configuration, secrets, disk, image, QEMU, Redis, chunk store, GitHub (clock, key,
permissions, installations, runner group, webhooks) and hosts. Ends with 1 if something has failed.

Examples:
  architect doctor
  architect doctor --config ./architect.yaml --json`;

export function addDoctorCommand(program: Command, output: Output): void {
  program
    .command('doctor')
    .description('find what is wrong with the set-up, and say what to do')
    .option('--config <file>', 'instead of ARCHITECT_CONFIG and the usual place')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async ({ config, json }: { readonly config?: string; readonly json: boolean }) => {
      // Loads GitHub's, Redis's and S3's clients: not for the start of every other command.
      const { examine } = await import('../doctor/examine.ts');
      const environment = withConfigFile(output.environment, config);
      const findings = await examine({ environment, now: output.now });
      show(output, { json, value: { findings }, present: () => presentFindings(findings) });
      const broken = findings.filter(({ state }) => state === 'failed').length;
      if (broken > 0) throw new CliError(`${broken} of ${findings.length} checks failed.`);
    });
}
