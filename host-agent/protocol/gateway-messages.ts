/**
 * The words of a gateway to the control plane and to hosts.
 *
 *   control plane ⇄ gateway   JSON text frames over one WebSocket that the gateway opens
 *                             ({url}/gateway, TLS, certificate of an enrolled gateway):
 *                             gateway → hello, served, held, active, traffic
 *                             control plane → serve, ask-traffic
 *   source's agent → gateway  POST /flip over TLS, both certificates of the fleet's CA
 *   standby → acting gateway  GET /flows over the same: lines of FlowLine for as long as it lasts
 *
 * `serve` is a whole picture, never a delta: a VM that is not in it is taken away. While a VM moves
 * the gateway lets packets of both its seats pass and sends its own to the one that the last flip
 * named; where that is, the picture does not say.
 *
 * Gateways that name the same floating address stand in for each other: one acts and holds the address,
 * the others have the same picture, follow the acting one's flows, and say whether they hear it.
 */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { HostId, MigrationId, VmId } from './ids.ts';
import { FlipEndpoint, type MigrationCredential } from './migration-messages.ts';

export const GATEWAY_PROTOCOL_VERSION = 3;
/** A picture of so many is below MAX_FRAME_BYTES. */
export const MAX_VMS_PER_GATEWAY = 2_000;

/** A VM's host and the epoch of its token in which that host has it. */
export const SeatSpec = z.object({ host: z.ipv4(), epoch: z.int().min(1) });
export type SeatSpec = Readonly<z.infer<typeof SeatSpec>>;

export const MAX_PORTS_PER_VM = 16;
/** Below what Linux and the slices of outbound flows take (net/bpf/port-slices.ts). */
export const OFFERED_PORTS = { first: 8_192, last: 12_287 } as const;

/** A port of the gateway's public address that leads to a port of the VM, wherever that is. */
export const OfferedPort = z.object({
  protocol: z.enum(['tcp', 'udp']),
  publicPort: z.int().min(1).max(65_535),
  guestPort: z.int().min(1).max(65_535),
});
export type OfferedPort = Readonly<z.infer<typeof OfferedPort>>;

export const GatewayVmSpec = z.object({
  vmId: VmId,
  guestAddress: z.ipv4(),
  /** `stored`: it waits in the chunk store; `unknown`: its host is not known now, nothing changes. */
  home: z.union([SeatSpec, z.enum(['stored', 'unknown'])]),
  /** Where it is on its way to. */
  move: z
    .object({
      migrationId: MigrationId,
      source: HostId,
      target: SeatSpec,
      /** What the source shows (`flipProofOf`); null: the control plane knows no more. */
      proof: z.base64().length(44).nullable(),
    })
    .nullable(),
  ports: z.array(OfferedPort).max(MAX_PORTS_PER_VM).optional(),
});
export type GatewayVmSpec = Readonly<z.infer<typeof GatewayVmSpec>>;

export const GatewayHello = z.object({
  type: z.literal('hello'),
  protocol: z.int(),
  agentVersion: z.string().max(64),
  /** Its address on the hosts' network: where tunnel packets and flips go. */
  underlay: z.ipv4(),
  flipPort: z.int().min(1).max(65_535),
  /** Where guests' packets come from, and where their offered ports are. */
  publicAddress: z.ipv4(),
  /** The same, if it is one that it takes and gives up as it is told; null: it is its own, for good. */
  floating: z.ipv4().nullable(),
  /** It has a prefix for guests' IPv6. */
  ipv6: z.boolean().optional(),
});
export type GatewayHello = Readonly<z.infer<typeof GatewayHello>>;

/** The picture with this number is what the kernel has now, but for the VMs that are refused. */
export const Served = z.object({
  type: z.literal('served'),
  number: z.int().min(1),
  refused: z.array(z.object({ vmId: VmId, why: z.string().max(500) })).max(MAX_VMS_PER_GATEWAY),
});
export type Served = Readonly<z.infer<typeof Served>>;

/** How many VMs the gateway's kernel knows. */
export const Held = z.object({ type: z.literal('held'), vms: z.int().min(0) });

/**
 * A standby's word on the gateway that it follows. `away`: its agent is gone, its machine refuses or
 * ends connections, so packets flow on there; `silent`: nothing comes from the machine.
 */
export const ActiveWord = z.enum(['heard', 'away', 'silent']);
export type ActiveWord = z.infer<typeof ActiveWord>;
export const Active = z.object({ type: z.literal('active'), word: ActiveWord });

const Count = z.int().min(0);
const Way = z.object({ packets: Count, bytes: Count });
/** Peers' networks that are told of a VM at most. */
export const MAX_PEER_NETWORKS = 32;
const MAX_DROP_REASONS = 64;

/** What a VM has sent (`out`) and been sent (`in`) through its gateway since that has had it. */
export const VmTraffic = z.object({
  out: Way,
  in: Way,
  /** Packets that its gateway did not let through, by reason (net/bpf/drop-reasons.ts). */
  drops: z.array(z.object({ reason: z.string().max(64), packets: Count })).max(MAX_DROP_REASONS),
  /** IPv4 only, each a /24; those with the most bytes, of the ones that are remembered. */
  peers: z.array(z.object({ network: z.cidrv4(), out: Way, in: Way })).max(MAX_PEER_NETWORKS),
});
export type VmTraffic = Readonly<z.infer<typeof VmTraffic>>;

/** Null: the gateway does not know the VM, or its switch is made of parts that do not count. */
export const Traffic = z.object({
  type: z.literal('traffic'),
  ask: z.int().min(1),
  traffic: VmTraffic.nullable(),
});

export const GatewayFrame = z.discriminatedUnion('type', [
  GatewayHello,
  Served,
  Held,
  Active,
  Traffic,
]);
export type GatewayFrame = Readonly<z.infer<typeof GatewayFrame>>;

const MAX_STANDBYS = 8;

export const GatewayRole = z.discriminatedUnion('kind', [
  /** Who may follow its flows. */
  z.object({ kind: z.literal('acting'), standbys: z.array(HostId).max(MAX_STANDBYS) }),
  /** The one that acts, there or not. */
  z.object({ kind: z.literal('standby'), follow: FlipEndpoint }),
]);
export type GatewayRole = Readonly<z.infer<typeof GatewayRole>>;

export const Serve = z.object({
  type: z.literal('serve'),
  /** Grows with every picture of one connection. */
  number: z.int().min(1),
  role: GatewayRole,
  vms: z.array(GatewayVmSpec).max(MAX_VMS_PER_GATEWAY),
});
export type Serve = Readonly<z.infer<typeof Serve>>;

/** Answered by a `traffic` with the same number. */
export const AskTraffic = z.object({
  type: z.literal('ask-traffic'),
  ask: z.int().min(1),
  vmId: VmId,
});

export type AskTraffic = Readonly<z.infer<typeof AskTraffic>>;

export const ControlFrame = z.discriminatedUnion('type', [Serve, AskTraffic]);
export type ControlFrame = Readonly<z.infer<typeof ControlFrame>>;

export const Flip = z.object({
  migrationId: MigrationId,
  vmId: VmId,
  proof: z.base64().length(44),
  /** The same again changes nothing. */
  to: z.enum(['source', 'target']),
});
export type Flip = Readonly<z.infer<typeof Flip>>;

/** Shows that one knows a migration's credential, without giving the credential to the gateway. */
export function flipProofOf(credential: z.infer<typeof MigrationCredential>): string {
  return createHmac('sha256', Buffer.from(credential, 'base64')).update('flip').digest('base64');
}

const Port = z.int().min(0).max(65_535);
/** How many flows one line brings at most. */
export const MAX_FLOWS_PER_LINE = 500;

/** One flow of a guest. ICMP echo: the identifier stands for the ports, the remote port is 0. */
export const FlowSpec = z.object({
  number: z.int().min(0),
  protocol: z.int().min(0).max(255),
  guestAddress: z.ipv4(),
  guestPort: Port,
  publicAddress: z.ipv4(),
  publicPort: Port,
  remote: z.ipv4(),
  remotePort: Port,
  /** Index in NAT_STATES (net/bpf/abi.ts). */
  state: z.int().min(0).max(255),
  idleNs: z.number().min(0),
});
export type FlowSpec = Readonly<z.infer<typeof FlowSpec>>;

/** No flows: it is there. The first lines of an answer bring all flows, the later ones what changed. */
export const FlowLine = z.object({ flows: z.array(FlowSpec).max(MAX_FLOWS_PER_LINE) });
