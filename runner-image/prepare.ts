/**
 * `node runner-image/prepare.ts --profile small|full`: ensures this machine's image and template
 * and writes the pool that both belong to. Quick when everything is there.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { sweepStaging } from '../host-agent/artifacts/artifact-store.ts';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import { ensureImage } from './build-image.ts';
import { ensurePool } from './prepare-pool.ts';
import { PROFILES, type Profile } from './profiles.ts';

interface Arguments {
  readonly profile: Profile;
  readonly runnerTarball?: string;
  readonly fresh: boolean;
}

function readArguments(argv: readonly string[]): Arguments {
  return new Command()
    .addOption(new Option('--profile <name>', 'which guest').choices(PROFILES).default('small'))
    .option('--runner-tarball <file>', 'the official runner, instead of its download')
    .option('--fresh', "take Debian's newest packages", false)
    .parse(argv)
    .opts<Arguments>();
}

async function prepare(options: Arguments, signal: AbortSignal): Promise<void> {
  const homeDir = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
  await mkdir(homeDir, { recursive: true, mode: 0o755 });
  const { profile, runnerTarball, fresh } = options;
  const image = await ensureImage({ homeDir, profile, runnerTarball, fresh, progress, signal });
  const storeDir = join(homeDir, 'artifacts');
  const cpuModel = process.env.ARCHITECT_CPU_MODEL ?? 'qemu64';
  await ensurePool({ storeDir, profile, image, cpuModel, fresh, progress, signal });
  await sweepStaging(storeDir, Date.now());
}

function progress(what: string): void {
  process.stderr.write(`setup: ${what}\n`);
}

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
try {
  await prepare(readArguments(process.argv), stop.signal);
} catch (error) {
  if (stop.signal.aborted) process.stderr.write('Stopped; what was half done is removed.\n');
  else if (error instanceof ArchitectError) process.stderr.write(`${error.message}\n`);
  else throw error;
  process.exitCode = 1;
}
