/** A second gateway takes over the public address, with real agents, a real control plane and traffic. */
import { afterEach, expect, test } from 'vitest';
import { vmNumber, vniOf } from '../../../host-agent/net/vni.ts';
import { until } from '../local-provider/until.ts';
import { CHATTY, SILENT } from './standby-talk.ts';
import { GATEWAYS, type GatewayName, StandbyWorld } from './standby-world.ts';
import { GUEST, OUTSIDE, type Program } from './switch-world.ts';

/** And one of datagrams. */
const FLOWS = CHATTY + SILENT + 1;

let world: StandbyWorld;
afterEach(() => world?.destroy());

interface Talk {
  readonly guest: Program;
  readonly server: Program;
}

/** A guest with connections through the first gateway, and a second that hears it. */
async function start({ programs = true } = {}): Promise<Talk> {
  world = await StandbyWorld.open();
  if (!programs) await Promise.all(GATEWAYS.map((name) => world.takeKernelParts(name)));
  const [server, host] = await Promise.all([
    world.start('outside', ['standby-talk.ts', 'serve', OUTSIDE]),
    world.connectHost(0, programs ? 'bpf' : 'kernel'),
  ]);
  await world.startAgent('gateway');
  await world.untilGateway('gateway', { role: 'acting' });
  await world.startAgent('gateway2');
  await world.untilGateway('gateway2', { role: 'standby', hears: 'heard' });
  await seat(host);
  await world.moveGuest(0);
  const guest = await world.start('guest', ['standby-talk.ts', 'guest', OUTSIDE]);
  if (programs) await world.untilFlows('gateway2', FLOWS);
  return { guest, server };
}

/** The guest is on the host, by the gateway that acts. */
async function seat(host: Program): Promise<void> {
  const network = await world.control.call('seat', 'host0');
  const gateway: unknown = Reflect.get(Object(network), 'gatewayAddress');
  const vni = vniOf({ number: vmNumber(GUEST), epoch: 1 });
  await host.call('ensureVm', { guestAddress: GUEST, gateway, vni, link: 'arv0' });
}

async function expectAlive({ guest, server }: Talk): Promise<void> {
  const pushed = await server.ask('push');
  await until('the silent connections to hear', async () =>
    (await guest.ask('pushed')) === pushed ? true : undefined,
  );
  expect(await guest.ask('stop')).toMatchObject({ broken: [], unanswered: 0 });
}

async function expectActing(acting: GatewayName): Promise<void> {
  await world.untilGateway(acting, { role: 'acting', state: 'connected' });
  const other: GatewayName = acting === 'gateway' ? 'gateway2' : 'gateway';
  await until('the address to be on that one only', async () => {
    const [here, there] = await Promise.all(
      [acting, other].map((one) => world.hasPublicAddress(one)),
    );
    return here === true && there === false ? true : undefined;
  });
}

test('a gateway whose machine dies is taken over, every connection goes on, and it comes back as standby', async () => {
  const talk = await start();
  await world.cut('gateway');
  await world.untilGateway('gateway2', { role: 'acting' });
  await expectAlive(talk);
  await world.mend('gateway');
  await world.untilGateway('gateway', { role: 'standby', hears: 'heard' });
  await expectActing('gateway2');
});

test('the operator has one take over, and the first again', async () => {
  const talk = await start();
  expect(await world.control.call('takeOver', 'gateway')).toMatchObject({ kind: 'refused' });
  expect(await world.control.call('takeOver', 'gateway2')).toBeNull();
  await expectActing('gateway2');
  await world.untilGateway('gateway', { role: 'standby', hears: 'heard' });
  expect(await world.control.call('takeOver', 'gateway')).toBeNull();
  await expectActing('gateway');
  await expectAlive(talk);
});

test('a gateway whose agent is killed goes on acting, and its standby is not deceived', async () => {
  const talk = await start();
  await world.endAgent('gateway');
  await world.untilGateway('gateway2', { role: 'standby', hears: 'away' });
  await world.startAgent('gateway');
  await world.untilGateway('gateway2', { role: 'standby', hears: 'heard' });
  await expectActing('gateway');
  await expectAlive(talk);
});

test('without programs, what guests say goes on through a standby', async () => {
  const { guest } = await start({ programs: false });
  await world.cut('gateway');
  await world.untilGateway('gateway2', { role: 'acting' });
  expect(await guest.ask('stop')).toMatchObject({ broken: [], unanswered: 0 });
});
