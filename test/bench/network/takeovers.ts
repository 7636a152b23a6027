/** How long a guest hears nothing when its gateway's machine dies, and what becomes of its connections. */
import { z } from 'zod';
import { vmNumber, vniOf } from '../../../host-agent/net/vni.ts';
import { CHATTY, SILENT } from '../../integration/switch/standby-talk.ts';
import { StandbyWorld } from '../../integration/switch/standby-world.ts';
import { GUEST, OUTSIDE } from '../../integration/switch/switch-world.ts';

const Network = z.object({ gatewayAddress: z.ipv4() });
const Talk = z.object({
  broken: z.array(z.string()),
  unanswered: z.number(),
  silenceMs: z.number(),
});

export interface Takeovers {
  /** Between two datagrams that came back, of one sent each millisecond. */
  readonly silencesMs: readonly number[];
  readonly connections: number;
  readonly broken: number;
}

export async function measureTakeovers(rounds: number): Promise<Takeovers> {
  const world = await StandbyWorld.open();
  try {
    await world.start('outside', ['standby-talk.ts', 'serve', OUTSIDE]);
    const host = await world.connectHost(0, 'bpf');
    await world.startAgent('gateway');
    await world.untilGateway('gateway', { role: 'acting' });
    await world.startAgent('gateway2');
    await world.untilGateway('gateway2', { role: 'standby', hears: 'heard' });
    const { gatewayAddress: gateway } = Network.parse(await world.control.call('seat', 'host0'));
    const vni = vniOf({ number: vmNumber(GUEST), epoch: 1 });
    await host.call('ensureVm', { guestAddress: GUEST, gateway, vni, link: 'arv0' });
    await world.moveGuest(0);
    const silencesMs: number[] = [];
    let broken = 0;
    for (let round = 0; round < rounds; round += 1) {
      const talk = await oneTakeover(world, round % 2 === 0);
      silencesMs.push(talk.silenceMs);
      broken += talk.broken.length + talk.unanswered;
    }
    return { silencesMs, connections: rounds * (CHATTY + SILENT), broken };
  } finally {
    await world.destroy();
  }
}

/** The one that is lost is a standby again when this resolves. */
async function oneTakeover(world: StandbyWorld, isFirst: boolean) {
  const lost = isFirst ? 'gateway' : 'gateway2';
  const next = isFirst ? 'gateway2' : 'gateway';
  const guest = await world.start('guest', ['standby-talk.ts', 'guest', OUTSIDE]);
  try {
    await world.untilFlows(next, CHATTY + SILENT + 1);
    await guest.ask('mark');
    await world.cut(lost);
    await world.untilGateway(next, { role: 'acting' });
    const talk = Talk.parse(await guest.ask('stop'));
    await world.mend(lost);
    await world.untilGateway(lost, { role: 'standby', hears: 'heard' });
    return talk;
  } finally {
    await guest.end();
  }
}
