/** What the control plane needs of its gateways. */
import type {
  ActiveWord,
  GatewayRole,
  GatewayVmSpec,
  VmTraffic,
} from '../../host-agent/protocol/gateway-messages.ts';
import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import type { FlipEndpoint } from '../../host-agent/protocol/migration-messages.ts';

/** A gateway as its connection shows it. */
export interface Gateway {
  readonly id: HostId;
  readonly hostname: string;
  readonly state: 'connected' | 'away';
  /** Its address on the hosts' network; undefined while it is away. */
  readonly underlay: string | undefined;
  readonly flipPort: number | undefined;
  /** Undefined while it is away. */
  readonly publicAddress: string | undefined;
  /** It has a prefix for guests' IPv6. */
  readonly ipv6?: boolean | undefined;
  /** The same as `publicAddress`, if it takes and gives it up as it is told; undefined: it has its own for good. */
  readonly floating: string | undefined;
  /** A standby's last word on the one that acts; undefined: it has said none. */
  readonly hears: ActiveWord | undefined;
  /** VMs that its kernel knows, by its last word. */
  readonly vms: number;
  readonly stateSinceMs: number;
}

export interface GatewayPicture {
  readonly role: GatewayRole;
  readonly vms: readonly GatewayVmSpec[];
}

export interface GatewayPort {
  gateways(): readonly Gateway[];
  /** Undefined while it is away. */
  flipAt(id: HostId): FlipEndpoint | undefined;
  /** Tells it what it is to be and to have; answers the picture's number, undefined while it is away. */
  serve(id: HostId, picture: GatewayPicture): number | undefined;
  /** True when it has this picture or a newer one, false when it does not in that time. */
  served(id: HostId, number: number, limitMs: number): Promise<boolean>;
  /** Whether it answers a ping in that time; false at once while it is away. */
  answers(id: HostId, limitMs: number): Promise<boolean>;
  /** What it has counted of the VM; `uncounted`: it does not know it, or does not count. */
  traffic(id: HostId, vmId: VmId, limitMs: number): Promise<VmTraffic | 'uncounted' | 'away'>;
}
