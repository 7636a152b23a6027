/**
 * The two processes of a simulated host, started detached in its namespace so that they outlive the
 * control plane: its agent and its metadata service. What they print goes to files in `machine/`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ProcessRef, readProcess } from '../../process-ref.ts';
import { METADATA_ADDRESS } from './host-machine.ts';
import { LocalCommandError } from './local-errors.ts';
import { hostDir, hostNetns, machineDir, NETNS_DIR } from './local-names.ts';
import type { FleetHome } from './machine-record.ts';
import type { MetadataOptions } from './metadata-service.ts';

const AGENT_PROGRAM = fileURLToPath(new URL('../../../host-agent/main.ts', import.meta.url));
const METADATA_PROGRAM = fileURLToPath(new URL('./metadata-service.ts', import.meta.url));

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export const DEFAULT_AGENT_COMMAND: readonly string[] = [process.execPath, AGENT_PROGRAM];

export interface HostProcess extends FleetHome {
  readonly machineId: string;
  readonly command: readonly string[];
  readonly logName: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Each starts, in a host, the process that it is called after. */
export interface Starters {
  agent(machineId: string): Promise<ProcessRef>;
  metadata(machineId: string): Promise<ProcessRef>;
}

export interface AgentSettings extends FleetHome {
  readonly machineId: string;
  readonly artifactsDir: string;
  readonly capacityText: string;
  readonly underlayMtu: number;
  readonly extra: Readonly<Record<string, string>>;
}

export function tokenFile(at: FleetHome, machineId: string): string {
  return join(machineDir(at.home, at.fleet, machineId), 'enrolment-token');
}

export function controlSocket(at: FleetHome, machineId: string): string {
  return join(machineDir(at.home, at.fleet, machineId), 'metadata.sock');
}

/** As host-agent/config.ts reads it. The token itself is in a file, never here. */
export function planAgentEnvironment(settings: AgentSettings): Readonly<Record<string, string>> {
  const { home, fleet, machineId } = settings;
  return {
    ARCHITECT_NOTICES: 'ec2',
    ...settings.extra,
    ARCHITECT_AGENT_DIR: hostDir(home, fleet, machineId),
    ARCHITECT_AGENT_TOKEN_FILE: tokenFile(settings, machineId),
    ARCHITECT_AGENT_CAPACITY: settings.capacityText,
    ARCHITECT_AGENT_NAME: machineId,
    ARCHITECT_ARTIFACTS: settings.artifactsDir,
    ARCHITECT_UNDERLAY_MTU: String(settings.underlayMtu),
  };
}

export async function startMetadataService(
  at: FleetHome,
  machineId: string,
  instanceType: string,
): Promise<ProcessRef> {
  const options: MetadataOptions = {
    instance: { instanceId: machineId, instanceType, place: 'local' },
    address: METADATA_ADDRESS,
    port: 80,
    controlSocket: controlSocket(at, machineId),
  };
  return startHostProcess({
    ...at,
    machineId,
    command: [process.execPath, METADATA_PROGRAM],
    logName: 'metadata.log',
    environment: { ARCHITECT_METADATA: JSON.stringify(options) },
  });
}

/** Answers once the process exists; whether it does its work is for others to see. */
export async function startHostProcess(wanted: HostProcess): Promise<ProcessRef> {
  const { home, fleet, machineId, command, logName, environment } = wanted;
  const log = openSync(join(machineDir(home, fleet, machineId), logName), 'a', 0o600);
  const netns = join(NETNS_DIR, hostNetns(fleet, machineId));
  try {
    // Not execa: the output must go to the file without passing through this process.
    const child = spawn('nsenter', [`--net=${netns}`, ...command], {
      detached: true,
      env: { PATH: process.env.PATH ?? DEFAULT_PATH, ...environment, ARCHITECT_FLEET: fleet },
      cwd: '/',
      stdio: ['ignore', log, log],
    });
    await once(child, 'spawn');
    child.unref();
    const ref = readProcess(child.pid ?? 0);
    if (ref !== undefined) return ref;
    throw new LocalCommandError(
      `${command.join(' ')} ended at once on ${machineId}; see ${logName}.`,
    );
  } finally {
    closeSync(log);
  }
}
