/**
 * The switch's world with a VM on host 0, as its agent makes it, and a guest that is plugged into the
 * VM's tap, whose namespace is `inner`.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { planGuestSide6 } from '../../../host-agent/net/vm-link-plan6.ts';
import { vmNumber, vniOf } from '../../../host-agent/net/vni.ts';
import { GUEST_MAC } from '../../../host-agent/protocol/guest-contract.ts';
import { VmNetwork } from '../../../host-agent/vm/vm-driver.ts';
import { GATEWAY, GUEST, HOSTS, OUTSIDE6, SwitchWorld } from './switch-world.ts';

const VM = 'vm-1a2b3c4d';
const VM_PLACE = `${VM}.t`;
const TAP_CABLE = fileURLToPath(new URL('../net/tap-cable.pl', import.meta.url));
const SAY_TO = fileURLToPath(new URL('say-to.ts', import.meta.url));

export class GuestWorld extends SwitchWorld {
  protected override readonly places = ['guest', 'host0', 'host1', 'gateway', 'outside', 'inner'];
  #cable: { kill(signal: 'SIGKILL'): boolean } | undefined;

  /** With these addresses outside, where the gateway's default route leads. */
  static async open(outside: readonly string[]): Promise<GuestWorld> {
    const world = new GuestWorld();
    try {
      await world.build();
      await world.ip('outside', ...outside.map((address) => `addr add ${address}/128 dev lo`));
      await world.ip('gateway', `route add ::/0 via ${OUTSIDE6}`);
      await world.#startVm();
      return world;
    } catch (error) {
      await world.destroy();
      throw error;
    }
  }

  /** Sends `say WORD ADDRESS` to each from there, and from that address. */
  async say(
    where: string,
    word: string,
    to: { readonly from?: string; readonly targets: readonly string[] },
  ): Promise<void> {
    await this.run(where, [process.execPath, SAY_TO, to.from ?? '::', word, ...to.targets]);
  }

  override async destroy(): Promise<void> {
    this.#cable?.kill('SIGKILL');
    await super.destroy();
    await execa('ip', ['netns', 'del', this.netns(VM_PLACE)], { reject: false });
  }

  async #startVm(): Promise<void> {
    const gateway = await this.gateway('bpf');
    const seat = { host: HOSTS[0], vni: vniOf({ number: vmNumber(GUEST), epoch: 1 }) };
    await gateway.call('ensureVm', { number: vmNumber(GUEST), guestAddress: GUEST, seat });
    const args = [this.fleet, HOSTS[0], GATEWAY, GUEST, VM];
    const agent = await this.start('host0', ['vm-program.ts', ...args]);
    const network = VmNetwork.parse(await agent.ask('network'));
    await this.#plugIn();
    const { guestAddress6: address = '', mtu } = network;
    await this.ip(
      'inner',
      `link set eth0 address ${GUEST_MAC} mtu ${mtu} up`,
      ...planGuestSide6(address, 'eth0').trim().split('\n'),
    );
  }

  async #plugIn(): Promise<void> {
    const vm = `--net=${this.netnsPath(VM_PLACE)}`;
    const cable = execa('nsenter', [vm, 'perl', TAP_CABLE, this.netnsPath('inner')], {
      reject: false,
    });
    this.#cable = cable;
    const ended = cable.then(({ stderr }) => {
      throw new Error(`the cable ended: ${stderr}`);
    });
    await Promise.race([once(cable.stdout, 'data'), ended]);
  }
}
