import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_CONFIG_FILE } from '../../settings/read-settings.ts';
import type { Address } from '../../settings/settings.ts';
import { type Output, show } from '../output.ts';
import type { SetupDone, SetupGiven } from '../setup/setup.ts';

const DEFAULT_PAGE: Address = { host: '127.0.0.1', port: 8765 };

const EXAMPLES = `
Registers a GitHub App with the least permissions, by one click on GitHub, and writes the
configuration and the App's two secrets (mode 0600).

Examples:
  architect setup --organization acme --url https://architect.acme.example
  architect setup --organization acme --url https://architect.acme.example --checks --rerun-lost
  architect setup --github https://github.acme.example --organization acme --url https://…
  architect setup --organization acme --url https://… --code CODE --json   # no browser here`;

interface Options {
  readonly organization?: string;
  readonly url: string;
  readonly github: string;
  readonly name?: string;
  readonly checks: boolean;
  readonly rerunLost: boolean;
  readonly cancelRefusedRuns: boolean;
  readonly repositoryFiles: boolean;
  readonly userRepositories: boolean;
  readonly provider: SetupGiven['provider'];
  readonly agentsUrl?: string;
  readonly config: string;
  readonly force: boolean;
  readonly code?: string;
  readonly pageListen: Address;
  readonly json: boolean;
}

export function addSetupCommand(program: Command, output: Output): void {
  const providers = new Option('--provider <name>', 'where hosts come from');
  const pages = new Option('--page-listen <host:port>', 'where the page is served');
  program
    .command('setup')
    .description('register the GitHub App and write the configuration')
    .requiredOption('--url <url>', 'where GitHub reaches this control plane', parseUrl)
    .option('--organization <login>', 'the owner of the App; without it, you')
    .option('--github <url>', "GitHub, or an Enterprise Server's", parseUrl, 'https://github.com')
    .option('--name <name>', 'of the App; unique on GitHub, 34 characters at most')
    .option('--checks', 'let it write checks on refused and lost jobs', false)
    .option('--rerun-lost', 'let it run lost jobs again', false)
    .option('--cancel-refused-runs', 'let it cancel runs of refused jobs', false)
    .option('--repository-files', "read the repositories' own .github/architect.yml", false)
    .option('--user-repositories', 'serve repositories that no organisation owns', false)
    .addOption(providers.choices(['local', 'static', 'ec2']).default('local'))
    .option('--agents-url <url>', 'https:// URL at which hosts reach this machine', parseUrl)
    .option('--config <file>', 'what is written', DEFAULT_CONFIG_FILE)
    .option('--force', 'replace files that are there', false)
    .option('--code <code>', 'what GitHub sent a browser back with, instead of a page here')
    .addOption(pages.argParser(parseAddress).default(DEFAULT_PAGE, '127.0.0.1:8765'))
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async (options: Options) => {
      // Loads GitHub's client: not for the start of every other command.
      const { setUp } = await import('../setup/setup.ts');
      const value = await setUp(givenBy(options), output);
      show(output, { json: options.json, value, present });
    });
}

function givenBy(options: Options): SetupGiven {
  const { organization, checks, rerunLost, cancelRefusedRuns } = options;
  const { repositoryFiles, userRepositories } = options;
  return {
    config: options.config,
    overwrite: options.force,
    webUrl: options.github,
    organization,
    publicUrl: options.url,
    name: options.name,
    features: { checks, rerunLost, cancelRefusedRuns, repositoryFiles, userRepositories },
    pageListen: options.pageListen,
    code: options.code,
    provider: options.provider,
    agentsUrl: options.agentsUrl,
  };
}

function present({ appId, appPage, configFile, next }: SetupDone): string {
  const steps = next.map((step, at) => `  ${at + 1}. ${step}`).join('\n');
  return `The App ${appId} is registered: ${appPage}\nThe configuration is in ${configFile}.\n\nNext:\n${steps}`;
}

function parseUrl(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text.replace(/\/+$/, '');
  throw new InvalidArgumentError('Wants a URL, for example https://architect.example.com.');
}

function parseAddress(text: string): Address {
  const [, host, port] = /^([^:\s]+):(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new InvalidArgumentError('Wants HOST:PORT, for example 127.0.0.1:8765.');
}
