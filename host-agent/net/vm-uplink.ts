/** One VM's way to its gateway, as whoever moves it away needs it. */
import { z } from 'zod';
import { OWN_COUNTER } from './guest-policy.ts';
import { readNetwork } from './network-commands.ts';
import type { HostSwitch, HostVm } from './switch-backend.ts';
import { TAP_NAME } from './vm-link-plan.ts';
import { numberOf, vniOf } from './vni.ts';

/** Packets of one VM on this host, since it came here. */
export interface VmTraffic {
  /** To the gateway. */
  readonly sent: number;
  /** Taken by the guest, or sent after it to its next host. */
  readonly delivered: number;
}

export interface VmUplink {
  /** What comes for the VM from now on goes to that host, which holds it in that epoch. */
  sendAfter(next: { readonly host: string; readonly epoch: number }): Promise<void>;
  /** What comes for the VM comes to it again. */
  takeBack(): Promise<void>;
  traffic(): Promise<VmTraffic | undefined>;
}

export function openUplink(parts: {
  readonly vm: HostVm;
  readonly hostSwitch: HostSwitch;
  readonly netnsPath: string;
}): VmUplink {
  const { vm, hostSwitch, netnsPath } = parts;
  const number = numberOf(vm.vni);
  return {
    sendAfter: async ({ host, epoch }) => {
      await hostSwitch.forwardTo(number, { host, vni: vniOf({ number, epoch }) });
    },
    takeBack: () => hostSwitch.ensureVm(vm),
    traffic: async () => {
      const [counted, taken] = await Promise.all([
        hostSwitch.traffic(number),
        readTakenByGuest(netnsPath),
      ]);
      if (counted === undefined) return undefined;
      return { sent: counted.toGateway, delivered: taken + counted.forwarded };
    },
  };
}

const Links = z.tuple([z.object({ stats64: z.object({ tx: z.object({ packets: z.number() }) }) })]);
const Counters = z.object({
  nftables: z.array(z.object({ counter: z.object({ packets: z.number() }).optional() })),
});

/** Packets that QEMU read from the tap, less those that the VM's namespace made itself. */
async function readTakenByGuest(netnsPath: string): Promise<number> {
  const [links, inet, arp] = await Promise.all([
    readNetwork('ip', ['-s', '-j', 'link', 'show', TAP_NAME], netnsPath),
    readOwn('inet', netnsPath),
    readOwn('arp', netnsPath),
  ]);
  return Links.parse(JSON.parse(links))[0].stats64.tx.packets - inet - arp;
}

async function readOwn(family: 'inet' | 'arp', netnsPath: string): Promise<number> {
  const args = ['-j', 'list', 'counter', family, 'guard', OWN_COUNTER];
  const found = Counters.parse(JSON.parse(await readNetwork('nft', args, netnsPath))).nftables;
  return found.reduce((sum, { counter }) => sum + (counter?.packets ?? 0), 0);
}
