/** How long a VM's flip takes, from the call to the kernel's word, by programs and by nft and routes. */
import { openBpfGateway } from '../../../host-agent/net/bpf/gateway-switch.ts';
import { planTunnel, TUNNEL_LINK } from '../../../host-agent/net/tunnel.ts';
import { vmNumber, vniOf } from '../../../host-agent/net/vni.ts';
import {
  GATEWAY,
  GUEST,
  HOSTS,
  PUBLIC,
  SwitchWorld,
} from '../../integration/switch/switch-world.ts';

const NUMBER = vmNumber(GUEST);
const WARM_UP = 2_000;
const FLIPS = 20_000;
const KERNEL_FLIPS = 50;
const SEATS = [1, 2].map((epoch) => ({
  host: HOSTS[epoch % 2] ?? HOSTS[0],
  vni: vniOf({ number: NUMBER, epoch }),
}));

/** Microseconds each, there and back again. */
export async function measureBpfFlips(): Promise<readonly number[]> {
  const world = await SwitchWorld.create();
  try {
    await world.ip('gateway', ...planTunnel({ underlay: GATEWAY, mtu: 1450 }));
    const gateway = await openBpfGateway({
      underlay: GATEWAY,
      vxlan: TUNNEL_LINK,
      outside: 'out0',
      publicAddress: PUBLIC,
      mtu: 1450,
      netnsPath: world.netnsPath('gateway'),
    });
    await gateway.ensureVm({ number: NUMBER, guestAddress: GUEST, seat: SEATS[0] });
    const flips: number[] = [];
    for (let n = 0; n < WARM_UP + FLIPS; n += 1) {
      const to = SEATS[(n + 1) % 2];
      if (to === undefined) throw new Error('there is no seat');
      const began = process.hrtime.bigint();
      await gateway.flip(NUMBER, to);
      if (n >= WARM_UP) flips.push(Number(process.hrtime.bigint() - began) / 1e3);
    }
    await gateway.destroy();
    return flips;
  } finally {
    await world.destroy();
  }
}

/** The same, with a line to another process and its answer on top of it. */
export async function measureKernelFlips(): Promise<readonly number[]> {
  const world = await SwitchWorld.create();
  try {
    const gateway = await world.gateway('kernel');
    await gateway.call('ensureVm', {
      number: NUMBER,
      guestAddress: GUEST,
      seat: SEATS[0],
      previous: SEATS[1],
    });
    const flips: number[] = [];
    for (let n = 0; n < KERNEL_FLIPS; n += 1) {
      const began = performance.now();
      await gateway.call('flip', NUMBER, SEATS[(n + 1) % 2]);
      flips.push((performance.now() - began) * 1e3);
    }
    return flips;
  } finally {
    await world.destroy();
  }
}
