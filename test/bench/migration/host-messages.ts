/**
 * Between the bench and one of its hosts: lines of JSON. The host's standard input takes the task
 * first, then calls; its standard output has an answer to each, and marks as they are passed.
 */
import { z } from 'zod';
import { HostId } from '../../../host-agent/protocol/ids.ts';
import { AgentOutcome, AgentRequest } from '../../../host-agent/protocol/messages.ts';
import { MigrationReport } from '../../../host-agent/protocol/migration-messages.ts';
import { StoreSpec } from '../../../host-agent/protocol/store-spec.ts';
import { VmReport } from '../../../host-agent/protocol/vm-report.ts';

export const MoveHostTask = z.object({
  fleet: z.string(),
  homeDir: z.string(),
  dir: z.string(),
  hostId: HostId,
  tag: z.string(),
  address: z.ipv4(),
  identity: z.object({
    caPem: z.string(),
    certificatePem: z.string(),
    privateKeyPem: z.string(),
  }),
  store: StoreSpec.nullable(),
  /** False: its VMs are not tracked, and cannot move. */
  isTracking: z.boolean(),
});
export type MoveHostTask = Readonly<z.infer<typeof MoveHostTask>>;

export const HostCall = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('serve'), id: z.int(), request: AgentRequest }),
  z.object({ kind: z.literal('look'), id: z.int() }),
  /** In a guest that was started here. */
  z.object({
    kind: z.literal('run'),
    id: z.int(),
    vmId: z.string(),
    script: z.string(),
    timeoutMs: z.int(),
  }),
]);
export type HostCall = z.infer<typeof HostCall>;

export const HostPicture = z.object({
  vms: z.array(VmReport),
  migrations: z.array(MigrationReport),
});
export type HostPicture = Readonly<z.infer<typeof HostPicture>>;

export const HostLine = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready') }),
  z.object({
    kind: z.literal('mark'),
    mark: z.object({ step: z.string(), atMs: z.number() }),
  }),
  z.object({
    kind: z.literal('checkpoint'),
    cost: z.object({ stopMs: z.number(), busyMs: z.number(), sealedBytes: z.number() }),
  }),
  z.object({ kind: z.literal('outcome'), id: z.int(), outcome: AgentOutcome }),
  z.object({ kind: z.literal('picture'), id: z.int(), picture: HostPicture }),
  z.object({ kind: z.literal('output'), id: z.int(), text: z.string() }),
  z.object({ kind: z.literal('failed'), id: z.int(), why: z.string() }),
]);
export type HostLine = z.infer<typeof HostLine>;
