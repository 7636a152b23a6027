/**
 * The token's words on the wire (what the token is: host-agent/journal/token.ts).
 *
 *   source agent → target agent   give, released, settled    (the migration's own connection)
 *   target agent → source agent   received, refused, unknown
 *   control plane → agent         a query, or a verdict      (requests in messages.ts)
 *   agent → control plane         the journal's word         (results and reports in messages.ts)
 *
 * Each may be lost, come twice, come late and out of order: migration and epoch say what it is
 * about, and whoever it is not about ignores it. Nothing is answered that is not on disk.
 */
import { z } from 'zod';
import { HostId, MigrationId } from './ids.ts';

const Epoch = z.int().min(1);
const Why = z.string().max(500);

/** Epochs of one era; a move takes the next epoch, a start from a checkpoint the next era. */
export const ERA = 1_000_000;

/** The epoch that a move from this one is offered under, or that a lost one is granted anew in. */
export function epochOfMove(epoch: number): number {
  return epoch + 1;
}

/** Above every epoch that any number of moves can have reached since the checkpoint. */
export function epochOfRewind(epoch: number): number {
  return (Math.floor(epoch / ERA) + 1) * ERA;
}

/** How long a grant of a lease lasts, and how often its holder gets a new one. */
export const LEASE_MS = 30_000;
export const LEASE_RENEWAL_MS = 10_000;
/** The clocks of a host and of the control plane differ by no more than this. */
export const MAX_CLOCK_SKEW_MS = 5_000;
/** From a lapse on a host's own clock until its guest certainly does not run any more. */
export const GUEST_STOP_LIMIT_MS = 5_000;

/** The right to run until this moment of wall-clock time; only rewindable VMs need one. */
export const RunLease = z.object({ untilMs: z.int() });
export type RunLease = Readonly<z.infer<typeof RunLease>>;

/** One move of the token: for which attempt, and the epoch that the target will hold. */
export const TokenMove = z.object({ migrationId: MigrationId, epoch: Epoch });
export type TokenMove = Readonly<z.infer<typeof TokenMove>>;

/** A move and the host at its other end. */
export const PeerMove = TokenMove.extend({ hostId: HostId });
export type PeerMove = Readonly<z.infer<typeof PeerMove>>;

export function isSameMove(one: TokenMove, other: TokenMove): boolean {
  return one.migrationId === other.migrationId && one.epoch === other.epoch;
}

const about = { move: TokenMove };

export const TokenMessage = z.discriminatedUnion('kind', [
  /** The token is yours. The source's lease goes with it: no word of the control plane is needed. */
  z.object({ kind: z.literal('give'), ...about, lease: RunLease.nullable() }),
  z.object({ kind: z.literal('received'), ...about }),
  /** For good. */
  z.object({ kind: z.literal('refused'), ...about, why: Why }),
  /** Answers `give`: nothing here knows the move. A reservation outlives it, so it is over. */
  z.object({ kind: z.literal('unknown'), ...about }),
  /** Answers `received`: nothing of the VM is left at its source. */
  z.object({ kind: z.literal('released'), ...about }),
  /** Answers `refused`: this move will not be given any more. */
  z.object({ kind: z.literal('settled'), ...about }),
]);
export type TokenMessage = Readonly<z.infer<typeof TokenMessage>>;

/** What a host's journal says of a VM's token. */
export const TokenWord = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('none') }),
  /** `from`: who gave it, as long as that host may still have something of the VM. */
  z.object({
    kind: z.literal('holds'),
    epoch: Epoch,
    from: PeerMove.nullable(),
    lease: RunLease.nullable(),
  }),
  z.object({ kind: z.literal('given'), move: PeerMove, lease: RunLease.nullable() }),
  /** `loaded`: everything of the VM is there but the right to run it. */
  z.object({
    kind: z.literal('reserved'),
    move: PeerMove,
    loaded: z.boolean(),
  }),
  z.object({ kind: z.literal('refused'), move: PeerMove, why: Why }),
  z.object({ kind: z.literal('ended'), epoch: Epoch }),
]);
export type TokenWord = Readonly<z.infer<typeof TokenWord>>;

/** What the control plane tells one host. */
export const TokenVerdict = z.discriminatedUnion('kind', [
  /** The other host's message, in its place: its journal said so. */
  z.object({ kind: z.literal('relay'), from: HostId, message: TokenMessage }),
  /** To a target: refuse, unless it is received already. */
  z.object({ kind: z.literal('void'), ...about, why: Why }),
  /** To a source whose target is gone: what was given is yours again, in this epoch. */
  z.object({
    kind: z.literal('regrant'),
    ...about,
    epoch: Epoch,
    lease: RunLease.nullable(),
  }),
  /** Epochs below this one are over: what is left of the VM here goes. */
  z.object({ kind: z.literal('discard'), below: Epoch, why: Why }),
  /** To the holder of a rewindable VM. */
  z.object({ kind: z.literal('lease'), epoch: Epoch, lease: RunLease }),
]);
export type TokenVerdict = Readonly<z.infer<typeof TokenVerdict>>;
