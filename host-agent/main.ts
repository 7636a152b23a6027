/**
 * The host-agent's process: `node host-agent/main.ts [--role gateway | --leave]`, as root, configured by its
 * environment (config.ts). On SIGTERM or SIGINT it disconnects and exits; VMs go on running and the next agent
 * on this folder takes them over. Nothing is passed on to QEMU, which runs in a session of its own:
 * a shutdown signal inside a guest would cancel its job.
 *
 * `--leave` takes away what outlives the agent of a node that leaves its fleet, and ends.
 *
 * Exit codes: 0 told to end; 1 cannot be a host or gateway (standard error and status.json say why).
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { z } from 'zod';
import { runAgent } from './agent.ts';
import { readAgentConfig } from './config.ts';
import { runGateway } from './gateway/run-gateway.ts';
import { removeUnderlay } from './net/wireguard/open-underlay.ts';
import { ArchitectError } from './protocol/errors.ts';
import { adoptVm, startVm } from './vm/driver.ts';
import type { AdoptHow } from './vm/vm-driver.ts';

const EXIT_LIMIT_MS = 5_000;

const Role = z.enum(['host', 'gateway'], { error: 'The role is host or gateway.' });

const PackageFile = z.object({ version: z.string() });

function readVersion(): string {
  const path = new URL('../package.json', import.meta.url);
  return PackageFile.parse(JSON.parse(readFileSync(path, 'utf8'))).version;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      role: { type: 'string', default: 'host' },
      leave: { type: 'boolean', default: false },
    },
  });
  const role = Role.parse(values.role);
  const config = readAgentConfig(process.env);
  const logger = pino({ level: config.logLevel, base: { fleet: config.fleet } });
  if (values.leave) return await removeUnderlay({ ...config, logger });
  const end = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => {
      logger.info({ signal: name }, 'host-agent ends; its VMs go on');
      end.abort();
      setTimeout(() => process.exit(0), EXIT_LIMIT_MS).unref();
    });
  }
  const shared = { config, agentVersion: readVersion(), logger, signal: end.signal };
  if (role === 'gateway') return await runGateway(shared);
  const drivers = {
    start: (spec: Parameters<typeof startVm>[0]) => startVm(spec, { logger }),
    adopt: (vmDir: string, how: AdoptHow) => adoptVm(vmDir, { logger }, how),
  };
  await runAgent({ ...shared, drivers });
}

try {
  await main();
} catch (error) {
  const known = error instanceof ArchitectError;
  process.stderr.write(`${known ? error.message : String(error)}\n`);
  if (!known && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
}
