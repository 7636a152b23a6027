/**
 * The JIT configuration, in the official runner's shape: base64 of a JSON object that maps the names
 * of its settings files to their base64 contents (Runner.cs, "jitconfig").
 */
import type { RunnerSettings } from './wire.ts';

const INPUT = 'ACTIONS_RUNNER_INPUT_JITCONFIG';

/** Removes the variable from this process's environment. Throws when there is no configuration. */
export function takeJitConfig(args: readonly string[], environment: NodeJS.ProcessEnv): string {
  const at = args.indexOf('--jitconfig');
  const config = (at === -1 ? undefined : args[at + 1]) ?? environment[INPUT];
  delete environment[INPUT];
  if (config === undefined || config === '') {
    throw new Error('Not configured. Give a JIT configuration with --jitconfig.');
  }
  return config.trim();
}

/** Throws when it is not a configuration. */
export function readSettings(jitConfig: string): RunnerSettings {
  const files: Record<string, string> = JSON.parse(decode(jitConfig));
  const settings = JSON.parse(decode(files['.runner'] ?? ''));
  const credentials = JSON.parse(decode(files['.credentials'] ?? ''));
  return {
    serverUrl: String(settings.serverUrl),
    agentId: Number(settings.agentId),
    agentName: String(settings.agentName),
    workFolder: String(settings.workFolder ?? '_work'),
    token: String(credentials.data.token),
  };
}

function decode(text: string): string {
  return Buffer.from(text, 'base64').toString('utf8');
}
