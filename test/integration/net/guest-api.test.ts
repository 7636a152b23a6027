/** The guest API in real namespaces: who reaches it, as whom, and what a hostile guest makes of it. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GUEST_API_PORT } from '../../../host-agent/protocol/guest-api-address.ts';
import { until } from '../local-provider/until.ts';
import { createNetWorld, type Make, type NetWorld } from './net-world.ts';

const VMS = ['vm-aaaaaaaa', 'vm-bbbbbbbb'] as const;
const API = `169.254.1.1:${GUEST_API_PORT}`;
const HOSTILE_CONNECTIONS = 400;

let world: NetWorld;
let agent: number;
let guests: readonly string[];

const guest = (n: number) => guests[n] ?? '';
const ask = (netns: string) => world.run(netns, 'ask-guest-api.ts');

/** The process that reads what guests send. */
async function doorPid(): Promise<number | undefined> {
  const children = await readFile(`/proc/${agent}/task/${agent}/children`, 'utf8');
  const [pid] = children.split(' ').filter((text) => text !== '');
  return pid === undefined ? undefined : Number(pid);
}

/** Once it answers: the door may have to be started first. */
function answered(netns: string, what: string) {
  return until(`the guest API answers ${what}`, async () =>
    (await ask(netns)).includes(what) ? true : undefined,
  );
}

const MAKES: readonly { readonly name: string; readonly make?: Make }[] = [
  { name: 'beneath nft rules alone' },
  { name: 'beneath programs', make: 'bpf' },
];

describe.each(MAKES)('$name', ({ make }) => {
  beforeAll(async () => {
    world = await createNetWorld(['198.51.100.9'], make);
    const networks = await world.ensure(VMS);
    agent = await world.start(world.host, 'guest-api-program.ts', world.where, ...VMS);
    guests = await Promise.all(networks.map((network) => world.plugIn(network)));
  });
  afterAll(() => world?.destroy());

  test('each guest is answered as the VM that it is in', async () => {
    await answered(guest(0), `"class":"${VMS[0]}"`);
    await answered(guest(1), `"class":"${VMS[1]}"`);
  });

  test('nobody but its guest reaches it, and the guest no other port', async () => {
    const other = ['169.254.1.1:8080', '169.254.1.1:22', `169.254.2.2:${GUEST_API_PORT}`];
    expect(await world.probe(guest(0), other)).toEqual(
      Object.fromEntries(other.map((target) => [target, 'silent'])),
    );
    const links = await world.ip(world.host, 'link', 'show');
    const link = /(arv[0-9a-f]+)@/.exec(links)?.[1] ?? '';
    const way = ['169.254.1.1/32', 'via', '169.254.2.2', 'dev', link, 'onlink'];
    await world.ip(world.host, 'route', 'add', ...way);
    expect(await world.probe(world.host, [API])).toEqual({ [API]: 'silent' });
  });

  test('what reads guests’ bytes has no privileges', async () => {
    await answered(guest(0), VMS[0]);
    const status = await readFile(`/proc/${await doorPid()}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t64056\t64056\t64056\t64056$/m);
    expect(status).toMatch(/^Groups:\t *$/m);
    expect(status).toMatch(/^CapEff:\t0+$/m);
  });

  test(`it outlives ${HOSTILE_CONNECTIONS} connections of a hostile guest, and so do others`, async () => {
    const seed = randomBytes(8).toString('hex');
    const before = await doorPid();
    await world.run(guest(0), 'hammer-guest-api.ts', seed, String(HOSTILE_CONNECTIONS));
    await answered(guest(1), VMS[1]);
    await answered(guest(0), VMS[0]);
    expect(await doorPid(), `seed ${seed}`).toBe(before);
  });

  test('a door that dies is started anew with all VMs', async () => {
    const before = await doorPid();
    process.kill(before ?? 0, 'SIGKILL');
    await answered(guest(0), VMS[0]);
    await answered(guest(1), VMS[1]);
    expect(await doorPid()).not.toBe(before);
  });

  test('it ends with the agent; a guest is told so at once', async () => {
    process.kill(agent, 'SIGKILL');
    await until('the guest API is closed', async () => {
      const outcome = await world.probe(guest(0), [API]);
      return outcome[API] === 'refused' ? true : undefined;
    });
  });
});
