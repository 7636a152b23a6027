/**
 * The control plane's and the host-agent's words to each other: JSON text frames over one WebSocket
 * (TLS, client certificate), which the agent opens.
 *
 *   agent → control plane   hello, report, result, guest-ask
 *   control plane → agent   welcome | turned-away, request, guest-answer
 *
 * A request carries an id; its result carries the same. Requests are idempotent: the same request
 * again, on the same connection or a later one, changes nothing and gives the same result. A
 * result says that the request was taken or refused; what becomes of it is in the reports.
 */
import { z } from 'zod';
import { GuestAnswer, GuestAsk } from './guest-api.ts';
import { HostFacts, PoolSpec } from './host-facts.ts';
import { HostNotice } from './host-notice.ts';
import { Digest, HostId, JobId, VmId } from './ids.ts';
import { InstanceClass } from './instance-class.ts';
import {
  AbortMigration,
  CheckpointVm,
  MigrationReport,
  ParkVm,
  PeerEndpoint,
  ReceiveVm,
  ResumeVm,
  SendVm,
  VmKey,
} from './migration-messages.ts';
import { ResizeVm } from './resize-messages.ts';
import { StoreSpec } from './store-spec.ts';
import { TokenVerdict, TokenWord } from './token-messages.ts';
import { VmReport } from './vm-report.ts';

export const PROTOCOL_VERSION = 1;

/** No frame is larger; a report of 500 VMs is about 300 kB. */
export const MAX_FRAME_BYTES = 1024 * 1024;
export const REPORT_INTERVAL_MS = 5_000;
export const REQUEST_TIMEOUT_MS = 15_000;
export const MAX_VMS_PER_HOST = 500;

export const Hello = z.object({
  type: z.literal('hello'),
  protocol: z.int(),
  agentVersion: z.string().max(64),
  /** Differs at every start of the agent's process. */
  bootId: z.uuid(),
  facts: HostFacts,
});
export type Hello = Readonly<z.infer<typeof Hello>>;

/** Only a hint: who decides something asks first. `doubt`: the agent wants it asked. */
export const TokenReport = z.object({ vmId: VmId, word: TokenWord, doubt: z.boolean() });
export type TokenReport = Readonly<z.infer<typeof TokenReport>>;

export const Report = z.object({
  type: z.literal('report'),
  /** Grows by one with every report of this process. */
  seq: z.int().min(1),
  sentAtMs: z.int(),
  /** Artifacts that are complete and verified on this host. */
  artifacts: z.array(Digest).max(100),
  vms: z.array(VmReport).max(MAX_VMS_PER_HOST),
  /** Under way or ended lately. */
  migrations: z.array(MigrationReport).max(MAX_VMS_PER_HOST).optional(),
  /** VMs whose token is between this host and another, and VMs that need a lease. */
  tokens: z.array(TokenReport).max(MAX_VMS_PER_HOST).optional(),
  /** The cloud takes the host back, or may; on the host's own clock, as `sentAtMs` is. */
  notice: HostNotice.nullable(),
});
export type Report = Readonly<z.infer<typeof Report>>;

export const StartVm = z.object({
  kind: z.literal('start-vm'),
  vmId: VmId,
  class: InstanceClass,
  pool: PoolSpec,
  /** Without one the VM's chunks go into no store: it can move, not be parked or rewound. */
  key: VmKey.optional(),
  /** Its job may be resumed from a checkpoint: checkpoints are taken and a run lease is held. */
  rewindable: z.boolean().optional(),
  /** Unique in the fleet. Absent: the host chooses an address and masquerades it. */
  network: z
    .object({
      guestAddress: z.ipv4(),
      gateway: z.ipv4(),
      /** The guest is given an IPv6 address, too (net/guest-ipv6.ts). */
      ipv6: z.boolean().optional(),
    })
    .optional(),
});
export const AssignJob = z.object({
  kind: z.literal('assign-job'),
  vmId: VmId,
  jobId: JobId,
  /** Base64, as GitHub gave it. A secret: it goes into the guest and nowhere else. */
  jitConfig: z.string().max(64 * 1024),
  /** Lines for the beginning of the job's log; nothing secret. */
  about: z.string().max(2_000).optional(),
});
export const StopVm = z.object({
  kind: z.literal('stop-vm'),
  vmId: VmId,
  why: z.string().max(500),
});
/** The control plane has read the VM's end: the agent may forget it. */
export const ForgetVm = z.object({ kind: z.literal('forget-vm'), vmId: VmId });
export const FetchArtifacts = z.object({
  kind: z.literal('fetch-artifacts'),
  digests: z.array(Digest).max(10),
});

/** What does this host's journal say of the VM's token? Answered by `word`. */
export const TokenQuery = z.object({ kind: z.literal('token-query'), vmId: VmId });
/** The control plane's word on a token; answered by the `word` after it. */
export const TokenDecision = z.object({
  kind: z.literal('token-decision'),
  vmId: VmId,
  verdict: TokenVerdict,
});

/** Underlay addresses: for VMs of gateway `from`, `to` stands in. */
export const GatewayTurn = z.object({ from: z.ipv4(), to: z.ipv4() });
export type GatewayTurn = Readonly<z.infer<typeof GatewayTurn>>;
export const MAX_GATEWAY_TURNS = 256;
/** All that hold now, for VMs that are there and those that come; never a delta. */
export const UseGateways = z.object({
  kind: z.literal('use-gateways'),
  turns: z.array(GatewayTurn).max(MAX_GATEWAY_TURNS),
});

export const AgentRequest = z.discriminatedUnion('kind', [
  StartVm,
  AssignJob,
  StopVm,
  ForgetVm,
  FetchArtifacts,
  ReceiveVm,
  SendVm,
  AbortMigration,
  ParkVm,
  ResumeVm,
  CheckpointVm,
  ResizeVm,
  TokenQuery,
  TokenDecision,
  UseGateways,
]);
export type AgentRequest = Readonly<z.infer<typeof AgentRequest>>;
export type StartVm = Readonly<z.infer<typeof StartVm>>;
export type AssignJob = Readonly<z.infer<typeof AssignJob>>;

export const RequestFrame = z.object({
  type: z.literal('request'),
  requestId: z.string().max(64),
  request: AgentRequest,
});
export type RequestFrame = Readonly<z.infer<typeof RequestFrame>>;

export const AgentOutcome = z.discriminatedUnion('kind', [
  /** `peer`: to `receive-vm`, where the source is to dial. `word`: of the journal, to token requests. */
  z.object({
    kind: z.literal('taken'),
    peer: PeerEndpoint.optional(),
    word: TokenWord.optional(),
  }),
  z.object({ kind: z.literal('refused'), why: z.string().max(500) }),
]);
export type AgentOutcome = Readonly<z.infer<typeof AgentOutcome>>;

export const ResultFrame = z.object({
  type: z.literal('result'),
  requestId: z.string().max(64),
  outcome: AgentOutcome,
});
export type ResultFrame = Readonly<z.infer<typeof ResultFrame>>;

/** Admitted: from now on the host may be given VMs of this pool. */
export const Welcome = z.object({
  type: z.literal('welcome'),
  hostId: HostId,
  pool: PoolSpec,
  /** Where chunks go; may hold credentials, which are kept in memory only. */
  store: StoreSpec.optional(),
});
/** Connected but not in any pool, with the reason; the agent shows it and asks again later. */
export const TurnedAway = z.object({ type: z.literal('turned-away'), why: z.string().max(1000) });

/** A VM's job asks; only the VM's own host is believed, and answered by `guest-answer`. */
export const GuestAskFrame = z.object({
  type: z.literal('guest-ask'),
  askId: z.uuid(),
  vmId: VmId,
  ask: GuestAsk,
});
export type GuestAskFrame = Readonly<z.infer<typeof GuestAskFrame>>;

export const GuestAnswerFrame = z.object({
  type: z.literal('guest-answer'),
  askId: z.uuid(),
  answer: GuestAnswer,
});
export type GuestAnswerFrame = Readonly<z.infer<typeof GuestAnswerFrame>>;

export const AgentFrame = z.discriminatedUnion('type', [Hello, Report, ResultFrame, GuestAskFrame]);
export type AgentFrame = Readonly<z.infer<typeof AgentFrame>>;

export const ControlFrame = z.discriminatedUnion('type', [
  Welcome,
  TurnedAway,
  RequestFrame,
  GuestAnswerFrame,
]);
export type ControlFrame = Readonly<z.infer<typeof ControlFrame>>;
