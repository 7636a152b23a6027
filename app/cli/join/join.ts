/**
 * `architect host join`: check, write settings and token (0600), start the agent, wait until the
 * control plane has admitted this host or said why not. Doing it again is harmless: settings are
 * rewritten and the agent restarted; its VMs run on, and a host that is enrolled stays so.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { AGENT_STATUS_FILE, AgentStatus } from '../../../host-agent/protocol/agent-status.ts';
import { type AgentRole, decodeEnrolmentToken } from '../../../host-agent/protocol/enrolment.ts';
import { writeDurably } from '../../durable-file.ts';
import { CliError } from '../cli-error.ts';
import type { Output } from '../output.ts';
import {
  AGENT_DIR,
  agentEnvironment,
  ENVIRONMENT_FILE,
  formatEnvironmentFile,
  formatUnit,
  SERVICE_NAME,
  SETTINGS_DIR,
  TOKEN_FILE,
  UNIT_FILE,
} from './agent-service.ts';
import { checkMachine } from './machine.ts';

const ADMISSION_LIMIT_MS = 60_000;
const LOOK_EVERY_MS = 250;
const SYSTEMCTL_TIMEOUT_MS = 60_000;
const AGENT_MAIN = fileURLToPath(new URL('../../../host-agent/main.ts', import.meta.url));

export async function joinFleet(request: {
  readonly token: string;
  readonly foreground: boolean;
  readonly output: Output;
}): Promise<void> {
  const { token, foreground, output } = request;
  const decoded = decodeEnrolmentToken(token);
  if (decoded === undefined) {
    throw new CliError('This is no enrolment token. Get one with: architect host token');
  }
  await checkMachine(output.environment);
  if (!foreground && !existsSync('/run/systemd/system')) {
    throw new CliError('systemd does not run here. Use: architect host join TOKEN --foreground');
  }
  const environment = agentEnvironment(output.environment);
  await mkdir(SETTINGS_DIR, { recursive: true, mode: 0o700 });
  await writeDurably(ENVIRONMENT_FILE, formatEnvironmentFile(environment));
  await writeDurably(TOKEN_FILE, `${token}\n`);
  const { role = 'host' } = decoded;
  if (foreground) return await runHere(environment, role);
  const startedAtMs = output.now();
  await startService(role);
  output.write(`The host-agent runs as ${SERVICE_NAME} and dials ${decoded.url}.\n`);
  await awaitAdmission(startedAtMs, output);
}

/** Ctrl-C reaches the agent too, which ends by itself; its VMs run on. */
async function runHere(
  environment: Readonly<Record<string, string>>,
  role: AgentRole,
): Promise<void> {
  const wait = (): void => {};
  process.on('SIGINT', wait);
  const agent = execa(process.execPath, [AGENT_MAIN, '--role', role], {
    env: environment,
    stdio: 'inherit',
    reject: false,
  });
  const { exitCode, isTerminated } = await agent;
  process.off('SIGINT', wait);
  if (exitCode === 0 || isTerminated) return;
  throw new CliError(`The host-agent ended with exit code ${exitCode}; its log above says why.`);
}

async function startService(role: AgentRole): Promise<void> {
  const unit = formatUnit({ node: process.execPath, agent: AGENT_MAIN, role });
  await writeDurably(UNIT_FILE, unit);
  await systemctl('daemon-reload');
  await systemctl('enable', SERVICE_NAME);
  await systemctl('restart', SERVICE_NAME);
}

async function awaitAdmission(startedAtMs: number, output: Output): Promise<void> {
  while (output.now() - startedAtMs < ADMISSION_LIMIT_MS) {
    const status = await readStatus();
    if (status !== undefined && status.atMs >= startedAtMs) {
      if (status.state === 'admitted') {
        const what = status.pool === 'gateway' ? 'as gateway' : `to pool ${status.pool} as host`;
        output.write(`Admitted ${what} ${status.hostId}.\n`);
        return;
      }
      if (status.state !== 'connecting') {
        throw new CliError(`Not admitted: ${status.why} The agent stays and asks again.`);
      }
    }
    await sleep(LOOK_EVERY_MS);
  }
  throw new CliError(
    `Not admitted within ${ADMISSION_LIMIT_MS / 1000} s. Look at: journalctl -u ${SERVICE_NAME}`,
  );
}

async function readStatus(): Promise<AgentStatus | undefined> {
  try {
    const text = await readFile(join(AGENT_DIR, AGENT_STATUS_FILE), 'utf8');
    return AgentStatus.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Throws CliError with systemctl's own words. */
export async function systemctl(...command: readonly string[]): Promise<void> {
  const done = await execa('systemctl', command, { timeout: SYSTEMCTL_TIMEOUT_MS, reject: false });
  if (done.failed) throw new CliError(`systemctl ${command.join(' ')} failed: ${done.stderr}`);
}
