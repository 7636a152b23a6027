/**
 * The whole set-up, looked at from end to end. Each part is looked at by itself, so that one that is
 * broken hides no other; only a configuration that cannot be read ends it.
 */
import { z } from 'zod';
import { ArchitectError } from '../../../host-agent/protocol/errors.ts';
import { HostList, PoolView } from '../../api/views.ts';
import { type Config, readConfig } from '../../config.ts';
import { readSettings } from '../../settings/read-settings.ts';
import { Settings } from '../../settings/settings.ts';
import { callApi, findApi } from '../api-client.ts';
import { checkGithub } from './check-github.ts';
import { checkMachine, checkSecretFile } from './check-machine.ts';
import { checkRedis } from './check-redis.ts';
import { checkStore } from './check-store.ts';
import { type Finding, failed, fine } from './finding.ts';
import { judgeFleet } from './judge-fleet.ts';

export interface ExamineGiven {
  readonly environment: NodeJS.ProcessEnv;
  readonly now: () => number;
  readonly kvmDevice?: string;
}

const KVM = '/dev/kvm';
const Secrets = z.object({ github: Settings.shape.github });

/** Never rejects for what is wrong with the set-up. */
export async function examine(given: ExamineGiven): Promise<readonly Finding[]> {
  const { environment, now, kvmDevice = KVM } = given;
  let config: Config;
  try {
    config = readConfig(environment);
  } catch (error) {
    if (!(error instanceof ArchitectError)) throw error;
    return [
      failed('configuration', error.message, 'Put that right, and run architect doctor again.'),
    ];
  }
  const { github } = readSettings(Secrets, environment);
  const parts = await Promise.all([
    part('secrets', () => all(...secretFilesOf(github).map(checkSecretFile))),
    part('machine', () => checkMachine({ config, environment, kvmDevice })),
    part('Redis', () => all(checkRedis(config.redisUrl, environment))),
    part('chunk store', () => all(checkStore(config.store))),
    part('GitHub', () => checkGithub(config, now)),
    part('control plane', () => checkFleet(config, environment)),
  ]);
  return [fine('configuration', 'It is read and understood.'), ...parts.flat()];
}

function secretFilesOf(github: Settings['github']): readonly string[] {
  const { furtherApps, enterprise } = github;
  const ofApps = [github, ...furtherApps].flatMap((app) => [
    app.privateKeyFile,
    app.webhookSecretFile,
  ]);
  return enterprise === undefined ? ofApps : [...ofApps, enterprise.tokenFile];
}

function all(...checks: readonly Promise<Finding>[]): Promise<readonly Finding[]> {
  return Promise.all(checks);
}

/** A check that itself breaks is a finding, too. */
async function part(
  name: string,
  look: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await look();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [
      failed(name, `It could not be looked at: ${why}`, 'If that says nothing to you, report it.'),
    ];
  }
}

async function checkFleet(
  { provider }: Config,
  environment: NodeJS.ProcessEnv,
): Promise<readonly Finding[]> {
  const api = findApi(environment);
  try {
    const { hosts } = await callApi(api, { method: 'GET', path: '/hosts', answer: HostList });
    const { pool } = await callApi(api, { method: 'GET', path: '/pool', answer: PoolView });
    return [
      fine('control plane', 'It runs and answers.'),
      ...judgeFleet({ provider, hosts, pool }),
    ];
  } catch (error) {
    if (!(error instanceof ArchitectError)) throw error;
    return [
      failed(
        'control plane',
        error.message,
        'architect start; if it ends at once, its log says why.',
      ),
    ];
  }
}
