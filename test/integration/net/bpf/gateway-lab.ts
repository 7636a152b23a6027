/** A gateway's two programs with one VM on host A, and packets through them both ways. */

import { toInteger } from '../../../../host-agent/net/../protocol/ipv4-number.ts';
import type { GatewayVmEntry } from '../../../../host-agent/net/bpf/abi.ts';
import { nameDrops } from '../../../../host-agent/net/bpf/drop-reasons.ts';
import { openGatewayTables } from '../../../../host-agent/net/bpf/gateway-tables.ts';
import {
  flattenIdleSeconds,
  LINUX_IDLE_SECONDS,
} from '../../../../host-agent/net/bpf/idle-flows.ts';
import { publicGroups } from '../../../../host-agent/net/guest-ipv6.ts';
import { vmNumber, vniOf } from '../../../../host-agent/net/vni.ts';
import { type Lab, openLab } from './lab.ts';
import * as packets from './packets.ts';

export const GUEST = '10.201.3.4';
export const NUMBER = vmNumber(GUEST);
export const PUBLIC = '203.0.113.10';
export const PEER = '198.51.100.9';
export const GATEWAY = '100.64.0.1';
export const HOST_A = '100.64.0.2';
export const HOST_B = '100.64.0.3';
export const SLICE = { firstPort: 20_000, portCount: 16 };
/** The operator's, for guests. */
export const PREFIX6 = '2001:db8:1::/64';
export const MTU = 1_450;
export const LAST_PORT = 20_099;
export const VXLAN = 40;
export const OUTSIDE = 41;

export function vni(epoch: number): number {
  return vniOf({ number: NUMBER, epoch });
}

export const vm: GatewayVmEntry = {
  vni: vni(1),
  host: HOST_A,
  previousVni: 0,
  previousHost: undefined,
  guestAddress: GUEST,
  publicAddress: PUBLIC,
  ...SLICE,
  services: 0,
};

export type GatewayLab = ReturnType<typeof openGatewayLab>;

export function openGatewayLab() {
  const lab: Lab = openLab(['gateway-vxlan', 'gateway-outside']);
  const tables = openGatewayTables(lab.maps);
  const config = {
    vxlanIfindex: VXLAN,
    outsideIfindex: OUTSIDE,
    underlay: GATEWAY,
    idleSeconds: flattenIdleSeconds(LINUX_IDLE_SECONDS),
    public6: publicGroups(PREFIX6),
    mtu: MTU,
  };
  const configure = (change: Partial<typeof config>) =>
    tables.config.set({ index: 0 }, { ...config, ...change });
  configure({});
  tables.ports.set({ address: PUBLIC }, { first: SLICE.firstPort, last: LAST_PORT });
  tables.vms.set({ number: NUMBER }, vm);
  tables.counters.ensure({ number: NUMBER });
  return {
    tables,
    configure,
    /** From the guest, by way of a host. */
    send: (packet: Buffer, { host = HOST_A, vni: id = vm.vni } = {}) => {
      const frame = packets.ethernet(packet, { type: typeOf(packet) });
      return lab.run('gateway-vxlan', { frame, cb: [toInteger(host), id] });
    },
    /** From a peer. */
    receive: (packet: Buffer) => {
      const result = lab.run('gateway-outside', {
        frame: packets.ethernet(packet, { type: typeOf(packet) }),
      });
      const [remote, id, device] = result.cb;
      return { ...result, remote, vni: id, device };
    },
    drops: () => nameDrops(tables.counters.sum({ number: NUMBER })?.drops ?? []),
    close: lab.close,
  };
}

function typeOf(packet: Buffer): number {
  return (packet[0] ?? 0) >= 0x60 ? 0x86dd : 0x0800;
}
