/** The files that the guided install leaves: `architect.yaml` and the two secrets, each mode 0600. */
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Document } from 'yaml';
import { readIfThere, writeDurably } from '../../durable-file.ts';
import { CliError } from '../cli-error.ts';

const SCHEMA_COMMENT =
  ' yaml-language-server: $schema=https://raw.githubusercontent.com/OWNER/architect/main/architect.schema.json';
const HEAD = ' Written by architect setup. README.md, "Configuration", lists every setting.';

export interface ConfigPaths {
  readonly config: string;
  readonly privateKey: string;
  readonly webhookSecret: string;
}

export function configPaths(config: string): ConfigPaths {
  const dir = dirname(config);
  return {
    config,
    privateKey: join(dir, 'app-key.pem'),
    webhookSecret: join(dir, 'webhook-secret'),
  };
}

/**
 * Before anything is registered: the folder is there and can be written to, and nothing in it would
 * be lost. An App's key is shown once, so finding out afterwards would be too late. Throws CliError.
 */
export async function prepareFolder(
  paths: ConfigPaths,
  { overwrite }: { readonly overwrite: boolean },
): Promise<void> {
  const dir = dirname(paths.config);
  const trial = join(dir, '.architect-setup');
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await writeDurably(trial, '');
  } catch (cause) {
    throw new CliError(
      `Cannot write to ${dir}. Run this as the user that will run architect, or name another place by --config.`,
      { cause },
    );
  }
  await rm(trial, { force: true });
  if (overwrite) return;
  for (const path of Object.values(paths)) {
    if ((await readIfThere(path)) === undefined) continue;
    throw new CliError(
      `${path} is there already. Keep it and run architect doctor, or replace it with --force.`,
    );
  }
}

/** The secrets first: a configuration never names a file that is not there. */
export async function writeConfigFiles(
  paths: ConfigPaths,
  given: {
    readonly settings: Readonly<Record<string, unknown>>;
    readonly privateKey: string;
    readonly webhookSecret: string;
  },
): Promise<void> {
  await writeDurably(paths.privateKey, given.privateKey);
  await writeDurably(paths.webhookSecret, `${given.webhookSecret}\n`);
  await writeDurably(paths.config, configText(given.settings));
}

function configText(settings: Readonly<Record<string, unknown>>): string {
  const document = new Document(settings);
  document.commentBefore = `${SCHEMA_COMMENT}\n${HEAD}`;
  return document.toString();
}
