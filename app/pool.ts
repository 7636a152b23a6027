/** The pool that set-up prepared: image and template by hash, CPU model, machine type. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PoolSpec } from '../host-agent/protocol/host-facts.ts';
import type { Config } from './config.ts';
import { ConfigError } from './settings/config-error.ts';
import { DEFAULT_CPU_MODEL, DEFAULT_HOME } from './settings/settings.ts';

type PoolConfig = Pick<Config, 'artifactsDir' | 'imageProfile' | 'cpuModel'>;

/**
 * The best accelerator for which set-up captured a template. Throws ConfigError when there is none:
 * a template is captured on a machine of its own kind, so set-up has to have run here.
 */
export function readPool(config: PoolConfig): PoolSpec {
  for (const accelerator of ['kvm', 'pvm', 'tcg']) {
    const name = `${config.imageProfile}-x64-${accelerator}-${config.cpuModel}.json`;
    const text = readIfThere(join(config.artifactsDir, 'pools', name));
    if (text !== undefined) return PoolSpec.parse(JSON.parse(text));
  }
  throw new ConfigError(
    `No template of the ${config.imageProfile} image for CPU model ${config.cpuModel} is in ` +
      `${config.artifactsDir}. Run: ${setupCommand(config)}`,
  );
}

/** What prepares that image and template. Set-up reads the environment only. */
export function setupCommand({ artifactsDir, imageProfile, cpuModel }: PoolConfig): string {
  const home = dirname(artifactsDir);
  const model = cpuModel === DEFAULT_CPU_MODEL ? '' : `ARCHITECT_CPU_MODEL=${cpuModel} `;
  const place = home === DEFAULT_HOME ? '' : `ARCHITECT_HOME=${home} `;
  return `${place}${model}ARCHITECT_IMAGE_PROFILE=${imageProfile} npm run setup`;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
