/**
 * The words of a gateway to the control plane and to hosts.
 *
 *   control plane ⇄ gateway   JSON text frames over one WebSocket that the gateway opens
 *                             ({url}/gateway, TLS, certificate of an enrolled gateway):
 *                             gateway → hello, served, held     control plane → serve
 *   source's agent → gateway  POST /flip over TLS, both certificates of the fleet's CA
 *
 * `serve` is a whole picture, never a delta: a VM that is not in it is taken away. While a VM moves
 * the gateway lets packets of both its seats pass and sends its own to the one that the last flip
 * named; where that is, the picture does not say.
 */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { HostId, MigrationId, VmId } from './ids.ts';
import type { MigrationCredential } from './migration-messages.ts';

export const GATEWAY_PROTOCOL_VERSION = 1;
/** A picture of so many is below MAX_FRAME_BYTES. */
export const MAX_VMS_PER_GATEWAY = 2_000;

/** A VM's host and the epoch of its token in which that host has it. */
export const SeatSpec = z.object({ host: z.ipv4(), epoch: z.int().min(1) });
export type SeatSpec = Readonly<z.infer<typeof SeatSpec>>;

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
});
export type GatewayVmSpec = Readonly<z.infer<typeof GatewayVmSpec>>;

export const GatewayHello = z.object({
  type: z.literal('hello'),
  protocol: z.int(),
  agentVersion: z.string().max(64),
  /** Its address on the hosts' network: where tunnel packets and flips go. */
  underlay: z.ipv4(),
  flipPort: z.int().min(1).max(65_535),
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

export const GatewayFrame = z.discriminatedUnion('type', [GatewayHello, Served, Held]);
export type GatewayFrame = Readonly<z.infer<typeof GatewayFrame>>;

export const Serve = z.object({
  type: z.literal('serve'),
  /** Grows with every picture of one connection. */
  number: z.int().min(1),
  vms: z.array(GatewayVmSpec).max(MAX_VMS_PER_GATEWAY),
});
export type Serve = Readonly<z.infer<typeof Serve>>;

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
