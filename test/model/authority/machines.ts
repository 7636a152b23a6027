/** The decisions under test: production's own, or with one of them replaced (mutants.ts). */
import {
  type ArbiterEvent,
  type ArbiterState,
  type ArbiterStep,
  stepArbiter,
} from '../../../app/authority/arbiter.ts';
import {
  type Claim,
  judgeLease,
  judgeRewind,
  type LeaseJudgement,
  type RewindJudgement,
  type RewindSituation,
} from '../../../app/authority/rewind.ts';
import { type RecoveredToken, recoverToken } from '../../../host-agent/authority/recover-token.ts';
import { bindLease, leaseAllows } from '../../../host-agent/authority/run-lease.ts';
import {
  type SourceEvent,
  type SourceStep,
  type SourceToken,
  stepSource,
} from '../../../host-agent/authority/source-token.ts';
import {
  stepTarget,
  type TargetEvent,
  type TargetStep,
  type TargetToken,
} from '../../../host-agent/authority/target-token.ts';
import type { TokenEntry } from '../../../host-agent/journal/token.ts';
import type { HostId } from '../../../host-agent/protocol/ids.ts';
import { epochOfRewind, type RunLease } from '../../../host-agent/protocol/token-messages.ts';

export interface Machines {
  stepSource(state: SourceToken, event: SourceEvent): SourceStep;
  stepTarget(state: TargetToken, event: TargetEvent): TargetStep;
  stepArbiter(state: ArbiterState, event: ArbiterEvent): ArbiterStep;
  recoverToken(entry: TokenEntry, isLoaded: boolean): RecoveredToken;
  judgeRewind(situation: RewindSituation): RewindJudgement;
  judgeLease(holder: {
    readonly hostId: HostId;
    readonly epoch: number;
    readonly claim: Claim | undefined;
    readonly nowMs: number;
  }): LeaseJudgement;
  epochOfRewind(epoch: number): number;
  /** Whether the guest may run under the lease at this moment of its host's clock. */
  leaseAllows(lease: RunLease | null, wallMs: number): boolean;
}

export const PRODUCTION: Machines = {
  stepSource,
  stepTarget,
  stepArbiter,
  recoverToken,
  judgeRewind,
  judgeLease,
  epochOfRewind,
  leaseAllows(lease, wallMs) {
    const clocks = { wallMs, monotonicMs: wallMs };
    return leaseAllows(lease === null ? null : bindLease(lease, clocks), clocks);
  },
};
