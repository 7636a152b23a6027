/**
 * When a VM may be started again from a checkpoint, and who may have a lease. Pure.
 *
 * Invariants:
 * - A rewind waits until no guest can run under a lease that was ever granted: its end, plus what
 *   the clocks may differ by, plus the time that a host needs to stop a guest. Who has forgotten
 *   what it granted (an emptied Redis) takes the longest lease that it can have granted.
 * - The provider's word stands in for that wait only when it is about every host that may have the
 *   token: where it was last, and the target of each move that may be under way.
 * - A rewind is claimed in the chunk store (conditional put on the VM's head), in the epoch that
 *   `epochOfRewind` names, above any that moves can have reached meanwhile; no lease is granted to an
 *   era before the claim's. So the old holder, back from a partition, gets none.
 * - Orders: judge, claim, judge again, start; and: note the lease, read the claim, send the lease.
 *   Then a lease that crossed the claim is seen by the second judgement.
 */
import type { HostId } from '../../host-agent/protocol/ids.ts';
import {
  ERA,
  GUEST_STOP_LIMIT_MS,
  LEASE_MS,
  MAX_CLOCK_SKEW_MS,
  type RunLease,
} from '../../host-agent/protocol/token-messages.ts';

/** How long after a lease's end, on the control plane's clock, its guest certainly stands. */
export const LEASE_MARGIN_MS = MAX_CLOCK_SKEW_MS + GUEST_STOP_LIMIT_MS;

/** The last start from a manifest, as the chunk store has it. */
export interface Claim {
  readonly epoch: number;
  readonly hostId: HostId;
}

export interface RewindSituation {
  /** The end of the last lease granted for this VM; undefined: not known (any more). */
  readonly leaseUntilMs: number | undefined;
  /** Since when each grant has been noted down without a gap. */
  readonly notedSinceMs: number;
  /** Every host that may have the token; undefined: not known (any more). */
  readonly holders: readonly HostId[] | undefined;
  /** Hosts of which the provider says that they are no more. */
  readonly gone: ReadonlySet<HostId>;
  readonly nowMs: number;
}

export type RewindJudgement =
  | { readonly kind: 'rewind' }
  /** Ask again then; before it, only the provider's word can change the answer. */
  | { readonly kind: 'wait'; readonly untilMs: number };

/** Whether no copy of the VM can be running anywhere. */
export function judgeRewind(situation: RewindSituation): RewindJudgement {
  const { leaseUntilMs, notedSinceMs, holders, gone, nowMs } = situation;
  const known = holders ?? [];
  if (known.length > 0 && known.every((hostId) => gone.has(hostId))) return { kind: 'rewind' };
  const untilMs = leaseUntilMs ?? notedSinceMs + LEASE_MS;
  if (nowMs >= surelyOverAtMs(untilMs)) return { kind: 'rewind' };
  return { kind: 'wait', untilMs: untilMs + LEASE_MARGIN_MS };
}

/** From when on, on the control plane's clock, no guest runs under a lease that ends at `leaseUntilMs`. */
export function surelyOverAtMs(leaseUntilMs: number): number {
  return leaseUntilMs + LEASE_MARGIN_MS + 1;
}

export type LeaseJudgement =
  | { readonly kind: 'grant'; readonly lease: RunLease }
  /** The host's copy was overtaken by a claim: it is told to discard epochs below. */
  | { readonly kind: 'overtaken'; readonly below: number };

/** What the holder of `epoch` gets when its lease is due; the grant is noted before it is sent. */
export function judgeLease(holder: {
  readonly hostId: HostId;
  readonly epoch: number;
  readonly claim: Claim | undefined;
  readonly nowMs: number;
}): LeaseJudgement {
  const { hostId, epoch, claim, nowMs } = holder;
  if (claim !== undefined && isOvertaken({ hostId, epoch }, claim)) {
    return { kind: 'overtaken', below: claim.epoch };
  }
  return { kind: 'grant', lease: grantLease(nowMs) };
}

/** A grant at this moment of the control plane's clock. */
export function grantLease(nowMs: number): RunLease {
  return { untilMs: nowMs + LEASE_MS };
}

export type ClaimJudgement =
  /** To be put in the place of the current one, on the condition that it still is the current one. */
  { readonly kind: 'put' } | { readonly kind: 'overtaken'; readonly below: number };

/** Whether a rewind may be claimed. The same claim again is the same rewind again. */
export function judgeClaim(wanted: Claim, current: Claim | undefined): ClaimJudgement {
  if (current === undefined || wanted.epoch > current.epoch) return { kind: 'put' };
  const isSame = wanted.epoch === current.epoch && wanted.hostId === current.hostId;
  return isSame ? { kind: 'put' } : { kind: 'overtaken', below: current.epoch };
}

/** A claim has started the VM anew since this token was granted. */
export function isOvertaken(token: Claim, claim: Claim): boolean {
  const eraOf = (epoch: number) => Math.floor(epoch / ERA);
  return eraOf(token.epoch) < eraOf(claim.epoch);
}
