/**
 * The guided install: an App registered by one click on GitHub (or one that is there already, or a
 * code from an earlier click), and the files that `architect start` needs.
 *
 *   folder can be written ─▶ page ─▶ click ─▶ code ─▶ exchange ─▶ key, secret, architect.yaml ─▶ next step
 *
 * Nothing is registered before the folder is known to take the App's key, which GitHub shows once.
 */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import {
  apiUrlOf,
  appManifest,
  CODE_LIFE_MS,
  convertManifest,
  MAX_APP_NAME,
  type NewApp,
  registrationUrl,
} from '../../github/app-manifest.ts';
import { setWebhookSecret } from '../../github/hook-config.ts';
import type { Features } from '../../github/permissions.ts';
import type { Address } from '../../settings/settings.ts';
import { CliError } from '../cli-error.ts';
import type { Output } from '../output.ts';
import { type ConfigPaths, configPaths, prepareFolder, writeConfigFiles } from './config-files.ts';
import { openRegistrationPage } from './registration-page.ts';

const SECRET_BYTES = 32;

export interface SetupGiven {
  readonly config: string;
  readonly overwrite: boolean;
  /** GitHub's pages: https://github.com, or an Enterprise Server. */
  readonly webUrl: string;
  readonly organization: string | undefined;
  readonly publicUrl: string;
  /** Unique on GitHub; without it one is made of the organisation's. */
  readonly name: string | undefined;
  readonly features: Features;
  readonly pageListen: Address;
  /** What GitHub sent the browser back with, where that was elsewhere; without it there is a page. */
  readonly code: string | undefined;
  readonly provider: 'local' | 'static' | 'ec2';
  readonly agentsUrl: string | undefined;
}

export interface SetupDone {
  readonly appId: number;
  readonly appPage: string;
  readonly installUrl: string;
  readonly configFile: string;
  readonly privateKeyFile: string;
  readonly webhookSecretFile: string;
  readonly next: readonly string[];
}

/** Throws CliError or AppRegistrationError; then no file was written but those that were complete. */
export async function setUp(given: SetupGiven, output: Output): Promise<SetupDone> {
  const name = nameOf(given);
  const paths = configPaths(resolve(given.config));
  await prepareFolder(paths, given);
  const finish = async (code: string) =>
    keep(given, paths, await convertManifest(apiUrlOf(given.webUrl), code));
  return given.code === undefined
    ? await byBrowser({ ...given, name }, finish, output)
    : await finish(given.code);
}

function nameOf({ name, organization }: SetupGiven): string {
  const own = organization === undefined ? 'architect' : `architect-${organization}`;
  const chosen = name ?? own.slice(0, MAX_APP_NAME);
  if (chosen !== '' && chosen.length <= MAX_APP_NAME) return chosen;
  throw new CliError(
    `GitHub takes names of 1 to ${MAX_APP_NAME} characters. Choose another --name.`,
  );
}

async function byBrowser(
  given: SetupGiven & { readonly name: string },
  finish: (code: string) => Promise<SetupDone>,
  output: Output,
): Promise<SetupDone> {
  const { webUrl, organization } = given;
  const outcome = Promise.withResolvers<SetupDone>();
  const page = await openRegistrationPage(given.pageListen, {
    form: ({ redirectUrl, state }) => ({
      action: registrationUrl({ webUrl, organization, state }),
      manifest: appManifest({ ...given, redirectUrl }),
    }),
    onCode: async (code) => {
      const finishing = finish(code);
      finishing.then(outcome.resolve, outcome.reject);
      return (await finishing).installUrl;
    },
  });
  const { port } = new URL(page.url);
  output.writeProgress(
    `Open this address in a browser and press the button on GitHub:\n\n  ${page.url}\n\n` +
      `From another machine, first: ssh -L ${port}:127.0.0.1:${port} THIS-MACHINE\n`,
  );
  const timer = setTimeout(
    () =>
      outcome.reject(new CliError('Nobody came back from GitHub within an hour. Run it again.')),
    CODE_LIFE_MS,
  );
  try {
    return await outcome.promise;
  } finally {
    clearTimeout(timer);
    await page.close();
  }
}

async function keep(given: SetupGiven, paths: ConfigPaths, app: NewApp): Promise<SetupDone> {
  const { appId, privateKey } = app;
  const apiUrl = apiUrlOf(given.webUrl);
  const webhookSecret = app.webhookSecret ?? randomBytes(SECRET_BYTES).toString('hex');
  await writeConfigFiles(paths, {
    privateKey,
    webhookSecret,
    settings: settingsOf(given, { apiUrl, appId, paths }),
  });
  if (app.webhookSecret === null)
    await setWebhookSecret({ apiUrl, appId, privateKey }, webhookSecret);
  const installUrl = `${app.pageUrl.replace(/\/+$/, '')}/installations/new`;
  return {
    appId,
    appPage: app.pageUrl,
    installUrl,
    configFile: paths.config,
    privateKeyFile: paths.privateKey,
    webhookSecretFile: paths.webhookSecret,
    next: [
      `install the App for the repositories that it is to serve: ${installUrl}`,
      'ARCHITECT_IMAGE_PROFILE=full npm run setup',
      `npm run architect -- start --config ${paths.config}`,
      `npm run architect -- doctor --config ${paths.config}`,
    ],
  };
}

/** What is as by default is left out. */
function settingsOf(
  { provider, agentsUrl, features }: SetupGiven,
  {
    apiUrl,
    appId,
    paths,
  }: { readonly apiUrl: string; readonly appId: number; readonly paths: ConfigPaths },
): Readonly<Record<string, unknown>> {
  const { rerunLost, cancelRefusedRuns, repositoryFiles } = features;
  return {
    github: {
      ...(apiUrl === 'https://api.github.com' ? {} : { apiUrl }),
      appId,
      privateKeyFile: paths.privateKey,
      webhookSecretFile: paths.webhookSecret,
      ...(rerunLost ? { rerunLost } : {}),
      ...(repositoryFiles ? { repositoryFiles } : {}),
      ...(cancelRefusedRuns ? { cancelRefusedRuns } : {}),
    },
    provider,
    ...(agentsUrl === undefined ? {} : { agents: { url: agentsUrl } }),
  };
}
