/**
 * A host with a switch, enrolled and connected: `standby-host.ts FLEET UNDERLAY WAY FOLDER TOKEN`. It
 * does what the control plane says of gateways to its one VM; a JSON array per line calls the switch.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { ensureIdentity } from '../../../host-agent/control/enrol.ts';
import { ControlLink } from '../../../host-agent/control/link.ts';
import { openKernelHost } from '../../../host-agent/net/kernel/host-switch.ts';
import { openHostSwitch } from '../../../host-agent/net/open-switch.ts';
import { vmNumber } from '../../../host-agent/net/vni.ts';
import { PROTOCOL_VERSION } from '../../../host-agent/protocol/messages.ts';
import { hostFacts } from '../../fixtures/protocol.ts';
import { GUEST } from './switch-world.ts';

const [fleet = '', underlay = '', way, dir = '', token = ''] = process.argv.slice(2);
const logger = pino({ level: 'silent' });
const open = way === 'kernel' ? openKernelHost : openHostSwitch;
const backend = open({ fleet, underlay, mtu: 1450, logger });

await mkdir(dir);
const tokenFile = join(dir, 'token');
await writeFile(tokenFile, token, { mode: 0o600 });
const { signal } = new AbortController();
const hostname = basename(dir);
const identity = await ensureIdentity({ agentDir: dir, tokenFile, hostname, logger, signal });
const admitted = Promise.withResolvers<void>();
const link = new ControlLink({
  ...{ identity, logger, nowMs: Date.now },
  hello: {
    ...{ type: 'hello', protocol: PROTOCOL_VERSION, agentVersion: '1', bootId: randomUUID() },
    facts: { ...hostFacts(), underlay },
  },
  picture: () => ({ artifacts: [], vms: [], notice: null }),
  serve: async (request) => {
    if (request.kind !== 'use-gateways') return { kind: 'refused', why: 'not here' };
    for (const { to } of request.turns) await backend.turnTo(vmNumber(GUEST), to);
    return { kind: 'taken' };
  },
  onAdmitted: () => admitted.resolve(),
  onState: () => undefined,
});
link.start();
await admitted.promise;
process.stdout.write('"ready"\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  const method: unknown = Reflect.get(backend, name);
  if (typeof method !== 'function') throw new Error(`there is no ${name}`);
  const answer: unknown = await Reflect.apply(method, backend, args);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}
