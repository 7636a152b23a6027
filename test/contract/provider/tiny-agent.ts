/** Stands in for the host-agent: writes down how it was started, and stays. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const dir = process.env.ARCHITECT_AGENT_DIR ?? '';
const token = readFileSync(process.env.ARCHITECT_AGENT_TOKEN_FILE ?? '', 'utf8');
const started = { pid: process.pid, argv: process.argv, environment: process.env, token };
writeFileSync(join(dir, 'tiny-agent.json'), JSON.stringify(started));
setInterval(() => undefined, 60_000);
