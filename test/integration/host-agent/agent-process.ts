/** The host-agent as a process of its own, whose VMs are `sleep`s: to be killed and started again. */
import { pino } from 'pino';
import { runAgent } from '../../../host-agent/agent.ts';
import { readAgentConfig } from '../../../host-agent/config.ts';
import { nameNetworks, processDrivers } from './process-driver.ts';

const config = readAgentConfig(process.env);
const end = new AbortController();
process.once('SIGTERM', () => end.abort());
await runAgent({
  config,
  drivers: processDrivers,
  networks: nameNetworks(),
  agentVersion: 'test',
  logger: pino({ level: config.logLevel }),
  signal: end.signal,
});
