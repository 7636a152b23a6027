/** bpf/abi.h in TypeScript; abi.test.ts asks the C compiler whether they agree. */
import { DROP_REASONS } from './drop-reasons.ts';
import {
  address,
  address6,
  array,
  groups,
  layout,
  mac,
  port,
  type Shape,
  u8,
  u16,
  u32,
  u64,
  underlay,
} from './layout.ts';

export const vmNumber = layout('vm_number', { number: u32 });
export const index = layout('index', { index: u32 });
export const dropCounter = layout('drop_counter', { count: u64 });

export const hostConfig = layout('host_config', { vxlanIfindex: u32, underlay });

export const hostVm = layout('host_vm', {
  rateBytes: u64,
  burstBytes: u64,
  vni: u32,
  gateway: underlay,
  forwardHost: underlay,
  forwardVni: u32,
  stragglerSource: underlay,
  guestAddress: address,
  policy: u32,
  linkIfindex: u32,
  upIfindex: u32,
  tapIfindex: u32,
  guestMac: mac,
});
export type HostVmEntry = Shape<typeof hostVm>;

export const hostBucket = layout('host_bucket', { tokens: u64, filledNs: u64 });

export const guardKey = layout('guard_key', { prefixBits: u32, policy: u32, address });
export const guard6Key = layout('guard6_key', { prefixBits: u32, policy: u32, address: address6 });
export const guardRule = layout('guard_rule', { pass: u8, dns: u8 });

export const vmCounters = layout('vm_counters', {
  outPackets: u64,
  outBytes: u64,
  inPackets: u64,
  inBytes: u64,
  stragglerPackets: u64,
  drops: array(u64, DROP_REASONS.length),
});

/** `enum nat_state` and `enum nat_class`. */
export const NAT_STATES = ['opening', 'open', 'closing', 'closed'] as const;
export const NAT_CLASSES = ['tcp', 'udp', 'icmp'] as const;

export const gatewayConfig = layout('gateway_config', {
  vxlanIfindex: u32,
  outsideIfindex: u32,
  underlay,
  idleSeconds: array(u32, NAT_CLASSES.length * NAT_STATES.length),
  public6: groups(6),
  mtu: u32,
});

export const gatewayVm = layout('gateway_vm', {
  vni: u32,
  host: underlay,
  previousVni: u32,
  previousHost: underlay,
  guestAddress: address,
  publicAddress: address,
  firstPort: u16,
  portCount: u16,
  services: u32,
});
export type GatewayVmEntry = Shape<typeof gatewayVm>;

export const vni = layout('vni', { vni: u32 });
export const seatCounters = layout('seat_counters', { toHost: u64, fromHost: u64 });

export const publicAddress = layout('public_address', { address });
export const portRange = layout('port_range', { first: u16, last: u16 });

export const serviceKey = layout('service_key', { address, port, protocol: u8 });
export const service = layout('service', { number: u32, address, port });

export const flowKey = layout('flow_key', {
  local: address,
  remote: address,
  localPort: port,
  remotePort: port,
  protocol: u8,
});
export type FlowKey = Shape<typeof flowKey>;

export const natOut = layout('nat_out', { publicPort: port });

export const natIn = layout('nat_in', {
  seenNs: u64,
  number: u32,
  guestAddress: address,
  guestPort: port,
  state: u8,
});

export const flow6Key = layout('flow6_key', {
  peer: address6,
  guestAddress: address,
  guestPort: port,
  peerPort: port,
  protocol: u8,
});

export const prefixKey = layout('prefix_key', { number: u32, prefix: address });
export const prefixCounters = layout('prefix_counters', {
  outPackets: u64,
  outBytes: u64,
  inPackets: u64,
  inBytes: u64,
});
