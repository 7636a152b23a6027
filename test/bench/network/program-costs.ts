/**
 * What the switch's programs cost without a network: BPF_PROG_TEST_RUN on one packet, which is given
 * in nanoseconds by the kernel. The objects are those of build/test, which are the same but for the
 * tunnel's helper calls. A run that changes its packet (NAT) cannot be repeated on it, so each is a
 * call of its own and includes reading the clock once.
 */

import { fromInteger, toInteger } from '../../../host-agent/net/../protocol/ipv4-number.ts';
import {
  guardKey,
  guardRule,
  hostBucket,
  hostConfig,
  hostVm,
  index,
  vmCounters,
  vmNumber,
} from '../../../host-agent/net/bpf/abi.ts';
import { importFlow } from '../../../host-agent/net/bpf/flows.ts';
import { planGuardPrefixes } from '../../../host-agent/net/bpf/guard-plan.ts';
import { type ProgramName, readObject } from '../../../host-agent/net/bpf/programs.ts';
import { counterMap, mapNamed, typedMap } from '../../../host-agent/net/bpf/typed-map.ts';
import { NEVER, PRIVATE } from '../../../host-agent/net/guest-policy.ts';
import { vniOf } from '../../../host-agent/net/vni.ts';
import {
  GATEWAY,
  type GatewayLab,
  GUEST,
  HOST_A,
  NUMBER,
  openGatewayLab,
  PEER,
  PUBLIC,
  SLICE,
  vni,
} from '../../integration/net/bpf/gateway-lab.ts';
import { type Lab, openLab, REDIRECTED } from '../../integration/net/bpf/lab.ts';
import * as packets from '../../integration/net/bpf/packets.ts';

const PAYLOAD = Buffer.alloc(64);
const REPEATS = 10_000;
const POLICY = 1;
const BASE_REMOTE = toInteger('198.18.0.0');
const REMOTE_PORT = 443;

export interface ProgramCost {
  readonly program: ProgramName;
  readonly instructions: number;
  /** Per packet. */
  readonly nanoseconds: readonly number[];
}

function instructionsOf(program: ProgramName): number {
  return readObject(program).instructions.length / 8;
}

/** Of programs that leave a packet as they found it; `rounds` means, each of many runs. */
export function measureHostPrograms(rounds: number): readonly ProgramCost[] {
  const lab = openHostLab();
  const ports = { sourcePort: 4_000, destinationPort: REMOTE_PORT };
  const out = packets.ethernet(packets.tcp({ source: GUEST, destination: PEER }, ports, PAYLOAD));
  const back = packets.ethernet(packets.tcp({ source: PEER, destination: GUEST }, ports, PAYLOAD));
  const cb = [toInteger(GATEWAY), vni(1)];
  const runs = [
    ['host-tap', { frame: out }],
    ['host-link', { frame: out }],
    ['host-vxlan', { frame: back, cb }],
    ['host-uplink', { frame: back }],
  ] as const;
  try {
    return runs.map(([program, packet]) => ({
      program,
      instructions: instructionsOf(program),
      nanoseconds: Array.from({ length: rounds }, () => {
        const { verdict, nanoseconds } = lab.run(program, { ...packet, repeat: REPEATS });
        if (verdict !== REDIRECTED) throw new Error(`${program} dropped the packet`);
        return nanoseconds;
      }),
    }));
  } finally {
    lab.close();
  }
}

function openHostLab(): Lab {
  const lab = openLab(['host-tap', 'host-uplink', 'host-link', 'host-vxlan'], NUMBER);
  const { maps } = lab;
  const config = { vxlanIfindex: 40, underlay: HOST_A };
  typedMap(mapNamed(maps, 'host_config'), index, hostConfig).set({ index: 0 }, config);
  counterMap(mapNamed(maps, 'vm_counters'), vmNumber, vmCounters).ensure({ number: NUMBER });
  const bucket = typedMap(mapNamed(maps, 'host_buckets'), vmNumber, hostBucket);
  bucket.set({ number: NUMBER }, { tokens: 0, filledNs: 0 });
  const guard = typedMap(mapNamed(maps, 'host_guard'), guardKey, guardRule);
  const plan = planGuardPrefixes({ never: NEVER, allow: [], private: PRIVATE, dns: [] });
  for (const { address, bits, pass, dns } of plan) {
    const key = { prefixBits: 32 + bits, policy: POLICY, address };
    guard.set(key, { pass: Number(pass), dns: Number(dns) });
  }
  typedMap(mapNamed(maps, 'host_vms'), vmNumber, hostVm).set(
    { number: NUMBER },
    {
      rateBytes: 1e12,
      burstBytes: 1e12,
      vni: vniOf({ number: NUMBER, epoch: 1 }),
      gateway: GATEWAY,
      forwardHost: undefined,
      forwardVni: 0,
      stragglerSource: undefined,
      guestAddress: GUEST,
      policy: POLICY,
      linkIfindex: 1,
      upIfindex: 41,
      tapIfindex: 42,
      guestMac: packets.GUEST_MAC,
    },
  );
  return lab;
}

/** A packet of a flow, and the flow's next one right after it: what the first had to fetch is there. */
export interface PacketPair {
  readonly first: number;
  readonly next: number;
}

/** A gateway with so many flows of one VM, each with a peer of its own; and packets of any of them. */
export interface GatewayOfFlows {
  readonly flows: number;
  /** Packets of `count` flows by chance, nanoseconds. */
  inward(count: number): readonly PacketPair[];
  outward(count: number): readonly PacketPair[];
  close(): void;
}

export function openGatewayOfFlows(flows: number): GatewayOfFlows {
  const lab = openGatewayLab();
  for (let n = 0; n < flows; n += 1) importFlow(lab.tables, flowOf(n));
  const timed = ({ verdict, nanoseconds }: ReturnType<GatewayLab['send']>) => {
    if (verdict !== REDIRECTED) throw new Error('the gateway dropped a packet of a flow');
    return nanoseconds;
  };
  const sample = (count: number, run: (n: number) => ReturnType<GatewayLab['send']>) =>
    Array.from({ length: count }, () => {
      const n = Math.floor(Math.random() * flows);
      return { first: timed(run(n)), next: timed(run(n)) };
    });
  return {
    flows,
    inward: (count) => sample(count, (n) => lab.receive(inwardPacket(n))),
    outward: (count) => sample(count, (n) => lab.send(outwardPacket(n))),
    close: lab.close,
  };
}

const PUBLIC_PORT = SLICE.firstPort;

function flowOf(n: number) {
  return {
    number: NUMBER,
    protocol: packets.TCP,
    guestAddress: GUEST,
    guestPort: 4_000,
    publicAddress: PUBLIC,
    publicPort: PUBLIC_PORT,
    remote: remoteOf(n),
    remotePort: REMOTE_PORT,
    state: 1,
    idleNs: 0,
  };
}

function remoteOf(n: number): string {
  return fromInteger(BASE_REMOTE + n);
}

function inwardPacket(n: number): Buffer {
  const ports = { sourcePort: REMOTE_PORT, destinationPort: PUBLIC_PORT };
  return packets.tcp(
    { source: remoteOf(n), destination: PUBLIC },
    { ...ports, flags: packets.ACK },
    PAYLOAD,
  );
}

function outwardPacket(n: number): Buffer {
  const ports = { sourcePort: 4_000, destinationPort: REMOTE_PORT };
  return packets.tcp(
    { source: GUEST, destination: remoteOf(n) },
    { ...ports, flags: packets.ACK },
    PAYLOAD,
  );
}

export const GATEWAY_PROGRAMS = ['gateway-vxlan', 'gateway-outside'] as const;

export function gatewayInstructions(): Readonly<Record<(typeof GATEWAY_PROGRAMS)[number], number>> {
  return {
    'gateway-vxlan': instructionsOf('gateway-vxlan'),
    'gateway-outside': instructionsOf('gateway-outside'),
  };
}
