/** `architect host leave`: stops the agent, removes its service, settings and identity. */
import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';
import { execa } from 'execa';
import { CliError } from '../cli-error.ts';
import type { Output } from '../output.ts';
import {
  AGENT_DIR,
  ENVIRONMENT_FILE,
  SERVICE_NAME,
  SETTINGS_DIR,
  UNIT_FILE,
} from './agent-service.ts';
import { systemctl } from './join.ts';
import { checkRoot } from './machine.ts';

const AGENT_MAIN = fileURLToPath(new URL('../../../host-agent/main.ts', import.meta.url));
const LEAVE_LIMIT_MS = 30_000;

/** Idempotent. Refuses while VMs are here unless forced; then they are left to the next agent. */
export async function leaveFleet(request: {
  readonly force: boolean;
  readonly output: Output;
}): Promise<void> {
  checkRoot();
  const vms = await readdir(join(AGENT_DIR, 'vms')).catch(() => []);
  if (vms.length > 0 && !request.force) {
    throw new CliError(
      `${vms.length} VMs are on this host: ${vms.join(', ')}. Wait for their jobs, or use --force.`,
    );
  }
  if (existsSync(UNIT_FILE)) {
    await systemctl('disable', '--now', SERVICE_NAME);
    await rm(UNIT_FILE, { force: true });
    await systemctl('daemon-reload');
  }
  await takeAway();
  await rm(SETTINGS_DIR, { recursive: true, force: true });
  await rm(join(AGENT_DIR, 'identity.json'), { force: true });
  request.output.write(
    'This machine is no longer a host. On the control plane: architect host revoke ID\n',
  );
}

/** What outlives the agent: it knows it, with the settings that it ran with. */
async function takeAway(): Promise<void> {
  if (!existsSync(ENVIRONMENT_FILE)) return;
  const env = parseEnv(await readFile(ENVIRONMENT_FILE, 'utf8'));
  const { failed, stderr } = await execa(process.execPath, [AGENT_MAIN, '--leave'], {
    ...{ env, timeout: LEAVE_LIMIT_MS, reject: false },
  });
  if (failed) throw new CliError(`What the host-agent made was not taken away: ${stderr}`);
}
