/** The command line: what there is and how it ends. 0 done, 1 refused or failed, 2 misuse. */
import { Command, CommanderError } from 'commander';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { VERSION } from '../version.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addExposeCommand } from './commands/expose.ts';
import { addGatewaysCommand, addTakeoverCommand } from './commands/gateways.ts';
import { addHostCommand } from './commands/host.ts';
import { addHostsCommand } from './commands/hosts.ts';
import { addJobCommand } from './commands/job.ts';
import { addJobsCommand } from './commands/jobs.ts';
import { addDrainCommand, addDrillCommand, addMigrateCommand } from './commands/migrate.ts';
import { addOffersCommand } from './commands/offers.ts';
import { addSetupCommand } from './commands/setup.ts';
import { addStartCommand } from './commands/start.ts';
import { addTrafficCommand } from './commands/traffic.ts';
import { addVmsCommand } from './commands/vms.ts';
import type { Output } from './output.ts';

export type ExitCode = 0 | 1 | 2;

const EXAMPLES = `
Examples:
  architect setup --help     the GitHub App and the configuration, for a start
  architect start            a control plane, with the settings of /etc/architect/architect.yaml
  architect doctor           what is wrong with the set-up, and what to do
  architect jobs --json      what runs and what waits
  architect job 4711         one job: where it is, why it waits, how it moved
  architect drain h-000001   move all VMs off a host`;

export interface Terminal extends Output {
  writeError(text: string): void;
}

/** Runs one command to its end; errors are written, never thrown. */
export async function runProgram(argv: readonly string[], output: Terminal): Promise<ExitCode> {
  const program = buildProgram(output);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    output.writeError(`${describe(error)}\n`);
    return 1;
  }
}

function buildProgram(output: Terminal): Command {
  const program = new Command('architect')
    .description('GitHub Actions runners in microVMs, which move when a host is reclaimed')
    .version(VERSION)
    .addHelpText('after', EXAMPLES)
    .showHelpAfterError('Use --help to see what there is.')
    // Subcommands inherit this and the output, so both are set before they are added.
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.write(text),
      writeErr: (text) => output.writeError(text),
    });
  addSetupCommand(program, output);
  addDoctorCommand(program, output);
  addStartCommand(program, output);
  addDemoCommand(program);
  addJobsCommand(program, output);
  addJobCommand(program, output);
  addHostsCommand(program, output);
  addVmsCommand(program, output);
  addOffersCommand(program, output);
  addHostCommand(program, output);
  addExposeCommand(program, output);
  addTrafficCommand(program, output);
  addGatewaysCommand(program, output);
  addTakeoverCommand(program, output);
  addMigrateCommand(program, output);
  addDrainCommand(program, output);
  addDrillCommand(program, output);
  return program;
}

function describe(error: unknown): string {
  if (error instanceof ArchitectError) return `architect: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
