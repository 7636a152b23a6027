/**
 * One round of asking who holds a VM's token. Pure; the effects are token-arbiter.ts's.
 *
 *   idle ──doubt──→ asking ──word──→ asking-peer ──answer──→ decide ──→ idle (somebody is told)
 *                     │                                        │
 *                     └─silent, gone, nothing open→ idle       └─ regrant ──→ leasing ──→ idle
 *
 * Invariants:
 * - Answers count only in the round that asked for them, and the peer is asked after the word that
 *   names it.
 * - A rewindable VM is granted anew only with a lease (rewind.ts), so not after a rewind was claimed,
 *   whatever was forgotten in between.
 * - A round that is lost half-way (the process ended, Redis was emptied) leaves nothing undone that
 *   the next one does not find in the answers.
 */
import type { HostId } from '../../host-agent/protocol/ids.ts';
import {
  epochOfMove,
  type PeerMove,
  type RunLease,
  type TokenVerdict,
  type TokenWord,
} from '../../host-agent/protocol/token-messages.ts';
import { type Answer, type Decision, decide, openMove } from './decide.ts';

/** A grant that waits for its lease: to the source, of what it gave in this move. */
interface Regrant {
  readonly hostId: HostId;
  readonly move: PeerMove;
}

export type ArbiterState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'asking'; readonly hostId: HostId }
  | {
      readonly kind: 'asking-peer';
      readonly hostId: HostId;
      readonly word: TokenWord;
      readonly peer: PeerMove;
    }
  | { readonly kind: 'leasing'; readonly grant: Regrant };

export type ArbiterEvent =
  /** This host cannot tell, or its reports leave something open. */
  | { readonly kind: 'doubt'; readonly hostId: HostId }
  | { readonly kind: 'answer'; readonly hostId: HostId; readonly answer: Answer }
  /** No claim has overtaken the epoch, and the lease is noted. */
  | { readonly kind: 'leased'; readonly lease: RunLease }
  | { readonly kind: 'overtaken'; readonly below: number };

export type ArbiterEffect =
  /** Answered by `answer`, within a limit. The provider is asked before the host. */
  | { readonly kind: 'ask'; readonly hostId: HostId }
  /** Answered by `leased` or `overtaken`. */
  | { readonly kind: 'lease'; readonly hostId: HostId; readonly epoch: number }
  | { readonly kind: 'tell'; readonly hostId: HostId; readonly verdict: TokenVerdict };

export type ArbiterStep =
  | {
      readonly kind: 'moved';
      readonly state: ArbiterState;
      readonly effects: readonly ArbiterEffect[];
    }
  | { readonly kind: 'ignored' };

/** Which states each state may become; `stepArbiter` is tested against it. */
export const ARBITER_TRANSITIONS = {
  idle: ['asking'],
  asking: ['asking-peer', 'idle'],
  'asking-peer': ['idle', 'leasing'],
  leasing: ['idle'],
} as const satisfies Record<ArbiterState['kind'], readonly ArbiterState['kind'][]>;

export const IDLE: ArbiterState = { kind: 'idle' };
const IGNORED: ArbiterStep = { kind: 'ignored' };
const OVERTAKEN_WHY = 'The VM was started anew from a checkpoint.';

export function stepArbiter(state: ArbiterState, event: ArbiterEvent): ArbiterStep {
  switch (event.kind) {
    case 'doubt': {
      if (state.kind !== 'idle') return IGNORED;
      const { hostId } = event;
      return moved({ kind: 'asking', hostId }, { kind: 'ask', hostId });
    }
    case 'answer':
      return hear(state, event.hostId, event.answer);
    case 'leased':
      return state.kind === 'leasing' ? moved(IDLE, tellGrant(state.grant, event.lease)) : IGNORED;
    case 'overtaken':
      return state.kind === 'leasing'
        ? moved(IDLE, tellOvertaken(state.grant, event.below))
        : IGNORED;
  }
}

function hear(state: ArbiterState, hostId: HostId, answer: Answer): ArbiterStep {
  if (state.kind === 'asking' && state.hostId === hostId) {
    const peer = answer.kind === 'word' ? openMove(answer.word) : undefined;
    if (answer.kind !== 'word' || peer === undefined) return moved(IDLE);
    return moved(
      { kind: 'asking-peer', hostId, word: answer.word, peer },
      { kind: 'ask', hostId: peer.hostId },
    );
  }
  if (state.kind !== 'asking-peer' || state.peer.hostId !== hostId) return IGNORED;
  return carryOut(state.hostId, decide({ ...state, answer }));
}

function carryOut(hostId: HostId, decision: Decision): ArbiterStep {
  switch (decision.kind) {
    case 'nothing':
      return moved(IDLE);
    case 'tell':
      return moved(IDLE, decision);
    case 'regrant':
      return regrant({ hostId, move: decision.move }, decision.leased);
  }
}

function regrant(grant: Regrant, leased: boolean): ArbiterStep {
  if (!leased) return moved(IDLE, tellGrant(grant, null));
  const epoch = epochOfMove(grant.move.epoch);
  return moved({ kind: 'leasing', grant }, { kind: 'lease', hostId: grant.hostId, epoch });
}

function tellGrant({ hostId, move }: Regrant, lease: RunLease | null): ArbiterEffect {
  const { migrationId, epoch } = move;
  const about = { migrationId, epoch };
  const verdict = { kind: 'regrant', move: about, epoch: epochOfMove(epoch), lease } as const;
  return { kind: 'tell', hostId, verdict };
}

function tellOvertaken({ hostId }: Regrant, below: number): ArbiterEffect {
  return { kind: 'tell', hostId, verdict: { kind: 'discard', below, why: OVERTAKEN_WHY } };
}

function moved(state: ArbiterState, ...effects: ArbiterEffect[]): ArbiterStep {
  return { kind: 'moved', state, effects };
}
