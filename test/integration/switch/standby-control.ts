/**
 * The control plane's side of gateways, in the namespace that this runs in: `standby-control.ts
 * ADDRESS FOLDER`. Its one VM is a record in memory; everything else is real. Takes a JSON array per
 * line, a method's name and its arguments, and prints one JSON value per line.
 */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { startAgentEndpoint } from '../../../app/agents/agent-endpoint.ts';
import { openCertificateAuthority } from '../../../app/agents/certificate-authority.ts';
import { EnrolmentStore } from '../../../app/agents/enrolment.ts';
import { AgentFleet } from '../../../app/agents/fleet.ts';
import { GatewayFleet } from '../../../app/agents/gateway-fleet.ts';
import { UnderlayBook } from '../../../app/agents/underlay-book.ts';
import { UnderlayDesk } from '../../../app/agents/underlay-desk.ts';
import { ActingBook } from '../../../app/gateways/acting-book.ts';
import { GatewayKeeper } from '../../../app/gateways/gateway-keeper.ts';
import { GatewayPairs } from '../../../app/gateways/gateway-pairs.ts';
import type { VmRecord } from '../../../app/records/records.ts';
import { POOL } from '../../fixtures/protocol.ts';
import { vmRecord } from '../../fixtures/records.ts';
import { GUEST } from './switch-world.ts';

const PORT = 3443;
const [host = '', dir = ''] = process.argv.slice(2);
const now = Date.now;
const logger = pino({ level: 'warn' }, process.stderr);

const authority = await openCertificateAuthority(join(dir, 'ca'), now());
const url = `https://${host}:${PORT}`;
const enrolment = new EnrolmentStore(join(dir, 'enrolment.db'), {
  url,
  caSha256: authority.sha256,
});
const underlayBook = new UnderlayBook(join(dir, 'underlay.db'));
const policy = { kind: 'private' } as const;
const underlay = new UnderlayDesk({ policy, book: underlayBook, enrolment, now });
const fleet = new AgentFleet({ enrolment, pool: () => POOL, now, logger });
const gateways = new GatewayFleet({ enrolment, now, logger });
await startAgentEndpoint({
  listen: { host, port: PORT },
  names: [host],
  ...{ authority, enrolment, fleet, gateways, underlay, now, logger },
  artifactsDir: join(dir, 'artifacts'),
  isLeader: () => true,
});
const vms: VmRecord[] = [];
const store = { listVms: async () => vms, listMigrations: async () => [] };
const book = new ActingBook(join(dir, 'gateways.db'));
const pairs = new GatewayPairs({ port: gateways, book, fleet, logger });
const keeper = new GatewayKeeper({
  ...{ port: gateways, store, fleet, pairs, now, logger },
  changeVm: async () => undefined,
});
const tell = () => Promise.all([keeper.refresh(), keeper.watch()]);
for (const one of [fleet, gateways]) one.onChange(() => void tell());

const idOf = (all: readonly { readonly id: string; readonly hostname: string }[], name: string) =>
  all.find(({ hostname }) => hostname === name)?.id;

const methods: Readonly<Record<string, (name: string) => unknown>> = {
  token: (role) =>
    enrolment.issueEnrolmentToken({
      ttlMs: 60_000,
      role: role === 'gateway' ? 'gateway' : 'host',
      nowMs: now(),
    }),
  gateways: () => {
    const roles = pairs.roles();
    return gateways.gateways().map((one) => ({ ...one, role: roles.get(one.id)?.kind ?? null }));
  },
  hosts: () => fleet.hosts().map(({ hostname, state }) => ({ hostname, state })),
  /** The guest is on that host from now on; answers its gateway. */
  seat: async (hostname) => {
    const hostId = idOf(fleet.hosts(), hostname);
    if (hostId === undefined) throw new Error(`there is no ${hostname}`);
    const fresh = vmRecord({ hostId, phase: 'busy' });
    const given = vms[0]?.network ?? (await keeper.assign(fresh.id));
    if (given === null) throw new Error('there is no gateway');
    vms[0] = { ...fresh, network: { ...given, guestAddress: GUEST } };
    await keeper.refresh();
    return keeper.networkNow(vms[0].network);
  },
  takeOver: async (name) => {
    const one = gateways.gateways().find(({ hostname }) => hostname === name);
    return one && (await keeper.takeOver(one.id));
  },
};

process.stdout.write('"ready"\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [name = '', argument = ''] = JSON.parse(line);
  const answer: unknown = await methods[name]?.(argument);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}
