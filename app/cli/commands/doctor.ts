import { type Command, InvalidArgumentError } from 'commander';
import { readConfig } from '../../config.ts';
import { withConfigFile } from '../../settings/read-settings.ts';
import { CliError } from '../cli-error.ts';
import type { SmokePlace } from '../doctor/smoke-github.ts';
import { type Output, show } from '../output.ts';
import { presentFindings } from '../present-findings.ts';
import { presentSmoke } from '../present-smoke.ts';

const EXAMPLES = `
Looks at configuration, secrets, disk, image, QEMU, Redis, chunk store, GitHub (clock, key,
permissions, installations, runner group, webhooks) and hosts. Ends with 1 if something has failed.

With --smoke it runs a real job instead, of a workflow that you add to the repository once (it says
how), tells when each phase was reached, and why it failed if it did. Where the App may not start
workflows, it waits for you to press the button.

Examples:
  architect doctor
  architect doctor --config ./architect.yaml --json
  architect doctor --smoke acme/widgets
  architect doctor --smoke acme/widgets --within 120 --json`;
const SMOKE_SECONDS = 600;
const MAX_SMOKE_SECONDS = 1_500;

interface Options {
  readonly config?: string;
  readonly json: boolean;
  readonly smoke?: SmokePlace;
  readonly within: number;
}

export function addDoctorCommand(program: Command, output: Output): void {
  program
    .command('doctor')
    .description('find what is wrong with the set-up, and say what to do')
    .option('--config <file>', 'instead of ARCHITECT_CONFIG and the usual place')
    .option('--smoke <owner/repo>', 'run a real job there', parsePlace)
    .option('--within <seconds>', 'when the smoke job has failed', parseSeconds, SMOKE_SECONDS)
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async ({ config, ...options }: Options) => {
      const environment = withConfigFile(output.environment, config);
      const place = options.smoke;
      if (place === undefined) await lookAtAll({ ...output, environment }, options);
      else await smokeAt({ ...output, environment }, { ...options, place });
    });
}

// Both load GitHub's client, and one Redis's and S3's: not for the start of every other command.
async function lookAtAll(output: Output, { json }: Pick<Options, 'json'>): Promise<void> {
  const { examine } = await import('../doctor/examine.ts');
  const findings = await examine({ environment: output.environment, now: output.now });
  show(output, { json, value: { findings }, present: () => presentFindings(findings) });
  const broken = findings.filter(({ state }) => state === 'failed').length;
  if (broken > 0) throw new CliError(`${broken} of ${findings.length} checks failed.`);
}

async function smokeAt(
  output: Output,
  { json, within, place }: Options & { readonly place: SmokePlace },
): Promise<void> {
  const { runSmoke } = await import('../doctor/smoke.ts');
  const config = readConfig(output.environment);
  const smoke = await runSmoke({ config, output, place, limitMs: within * 1_000 });
  show(output, { json, value: { smoke }, present: () => presentSmoke(smoke) });
  if (smoke.outcome === 'failed') throw new CliError('The smoke job failed.');
}

function parsePlace(text: string): SmokePlace {
  const [, owner, repo] = /^([A-Za-z0-9-]{1,39})\/([\w.-]{1,100})$/.exec(text) ?? [];
  if (owner === undefined || repo === undefined)
    throw new InvalidArgumentError('It is to be OWNER/REPO.');
  return { owner, repo };
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_SMOKE_SECONDS) return seconds;
  throw new InvalidArgumentError(`It is to be a whole number from 1 to ${MAX_SMOKE_SECONDS}.`);
}
