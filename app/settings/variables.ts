/** The environment's variables, each of which overrides one setting of the file. */
import type { YamlPath } from './positioned-yaml.ts';

export interface Variable {
  readonly name: string;
  readonly path: readonly string[];
  /** `file`: it names a YAML or JSON file that holds the whole section. */
  readonly kind: 'text' | 'number' | 'flag' | 'file';
}

function variable(name: string, path: string, kind: Variable['kind'] = 'text'): Variable {
  return { name, path: path.split('.'), kind };
}

export const VARIABLES: readonly Variable[] = [
  variable('ARCHITECT_HOME', 'home'),
  variable('ARCHITECT_FLEET', 'fleet'),
  variable('ARCHITECT_LISTEN', 'listen'),
  variable('ARCHITECT_AGENTS_LISTEN', 'agents.listen'),
  variable('ARCHITECT_AGENTS_URL', 'agents.url'),
  variable('ARCHITECT_API_LISTEN', 'api.listen'),
  variable('ARCHITECT_UNDERLAY', 'network.underlay'),
  variable('ARCHITECT_WIREGUARD_PORT', 'network.wireguard.port', 'number'),
  variable('ARCHITECT_WIREGUARD_RANGE', 'network.wireguard.range'),
  variable('ARCHITECT_POLICY_FILE', 'policy', 'file'),
  variable('ARCHITECT_IMAGE_PROFILE', 'image.profile'),
  variable('ARCHITECT_CPU_MODEL', 'image.cpuModel'),
  variable('ARCHITECT_PROVIDER', 'provider'),
  variable('ARCHITECT_EC2_FILE', 'ec2', 'file'),
  variable('ARCHITECT_LOCAL_HOSTS', 'local.hosts', 'number'),
  variable('ARCHITECT_LOCAL_HOST_SIZE', 'local.hostSize'),
  variable('ARCHITECT_LOCAL_UPLINK', 'local.uplink', 'flag'),
  variable('ARCHITECT_LOCAL_OUTSIDE', 'local.outside', 'flag'),
  variable('ARCHITECT_LOCAL_CHECKPOINT_SECONDS', 'local.checkpointSeconds', 'number'),
  variable('ARCHITECT_STORE', 'store.folder'),
  variable('ARCHITECT_STORE_BUCKET', 'store.bucket'),
  variable('ARCHITECT_STORE_ENDPOINT', 'store.endpoint'),
  variable('ARCHITECT_STORE_REGION', 'store.region'),
  variable('ARCHITECT_STORE_PREFIX', 'store.prefix'),
  variable('ARCHITECT_STORE_CREDENTIALS_FILE', 'store.credentialsFile'),
  variable('ARCHITECT_LINK_MBIT', 'linkMbit', 'number'),
  variable('ARCHITECT_TICK_MS', 'tickMs', 'number'),
  variable('ARCHITECT_POLL_SECONDS', 'github.pollSeconds', 'number'),
  variable('ARCHITECT_CANCEL_REFUSED_RUNS', 'github.cancelRefusedRuns', 'flag'),
  variable('ARCHITECT_REPOSITORY_FILES', 'github.repositoryFiles', 'flag'),
  variable('ARCHITECT_RERUN_LOST', 'github.rerunLost', 'flag'),
  variable('ARCHITECT_RUNNER_GROUP_ID', 'github.runnerGroupId', 'number'),
  variable('ARCHITECT_LOG_LEVEL', 'logLevel'),
  variable('REDIS_URL', 'redis.url'),
  variable('GITHUB_API_URL', 'github.apiUrl'),
  variable('GITHUB_APP_ID', 'github.appId', 'number'),
  variable('GITHUB_PRIVATE_KEY_FILE', 'github.privateKeyFile'),
  variable('GITHUB_WEBHOOK_SECRET_FILE', 'github.webhookSecretFile'),
];

/** The variable that sets the value at the path or what it is part of. */
export function variableOf(path: YamlPath): Variable | undefined {
  return VARIABLES.find((one) => one.path.every((step, at) => step === path[at]));
}

/** As the schema wants it; a text that is neither is left for the schema to refuse. */
export function settingOf({ kind }: Variable, text: string): unknown {
  if (kind === 'number')
    return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text);
  if (kind === 'flag' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}
