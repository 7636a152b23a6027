/**
 * The token on the host that holds it, from there on to its hand-over. Pure.
 *
 *   holding ──freeze──→ frozen ──hand-over──→ giving ──journalled──→ given ──received──→ released
 *    │  ▲ ▲                │                    │                      │     unknown
 *    │  │ └─────abort──────┤ refused            │ journal-failed       │ refused, regrant
 *    │  │                  ▼                    ▼                      │
 *    │  └───journalled─ taking-back ←───────────┴──────────────────────┘
 *    │
 *    ├─ refused, released, lease ──→ rewriting ──journalled──→ holding
 *    └─ ended ──→ ended                         any ──discard──→ released
 *
 * Invariants:
 * - The guest runs in `holding` and `rewriting` alone. It is stopped before `freeze`.
 * - `give` leaves this host only when *given* is on disk; from then on only the target's refusal
 *   (durable there) or the control plane's regrant (the target is gone) brings the token back.
 * - In one epoch at most one `give` is ever sent: what comes back comes back in the epoch that was
 *   offered, and a refused epoch is passed over on disk before `settled` is said.
 * - The token does not go on before the host that it came from has let go (`tenure.from`). So
 *   a *given* token has one other possible holder, its target, and two answers decide every doubt.
 * - While an entry is being written nothing else counts: whatever is ignored then is said again.
 *
 * The machine must not: read a clock, do I/O, know about QEMU. Effects run in their order, and none
 * of a step before all of the step before it.
 */
import type { HostId } from '../protocol/ids.ts';
import {
  isSameMove,
  type PeerMove,
  type RunLease,
  type TokenMessage,
  type TokenMove,
} from '../protocol/token-messages.ts';
import {
  IGNORED,
  journalSelf,
  moved,
  moveOf,
  type OutgoingMessage,
  refusal,
  send,
  type Tenure,
  type TokenEffect,
  type TokenStep,
} from './token-step.ts';

export type SourceToken =
  | { readonly kind: 'holding'; readonly tenure: Tenure }
  | { readonly kind: 'rewriting'; readonly tenure: Tenure; readonly reply: OutgoingMessage | null }
  | { readonly kind: 'frozen'; readonly tenure: Tenure; readonly move: PeerMove }
  | { readonly kind: 'giving'; readonly move: PeerMove; readonly lease: RunLease | null }
  | { readonly kind: 'given'; readonly move: PeerMove; readonly lease: RunLease | null }
  | {
      readonly kind: 'taking-back';
      readonly tenure: Tenure;
      readonly reply: OutgoingMessage | null;
    }
  | { readonly kind: 'released' }
  | { readonly kind: 'ended'; readonly epoch: number };

export type SourceEvent =
  /** The guest is stopped for the switch-over and stays so. */
  | { readonly kind: 'freeze'; readonly move: PeerMove }
  /** The target said that it is loaded. */
  | { readonly kind: 'hand-over' }
  | { readonly kind: 'abort' }
  | { readonly kind: 'journalled' }
  | { readonly kind: 'journal-failed' }
  /** Time to say again what was not answered. */
  | { readonly kind: 'resend' }
  /** The other host has been silent for too long. */
  | { readonly kind: 'doubt' }
  | { readonly kind: 'message'; readonly from: HostId; readonly message: TokenMessage }
  | {
      readonly kind: 'regrant';
      readonly move: TokenMove;
      readonly epoch: number;
      readonly lease: RunLease | null;
    }
  | { readonly kind: 'discard'; readonly below: number }
  | { readonly kind: 'lease'; readonly epoch: number; readonly lease: RunLease }
  /** The VM is over, and its journal says so. */
  | { readonly kind: 'ended' };

export type SourceStep = TokenStep<SourceToken>;

/** Which states each state may become; `stepSource` is tested against it. */
export const SOURCE_TRANSITIONS = {
  holding: ['holding', 'frozen', 'rewriting', 'ended', 'released'],
  rewriting: ['holding', 'rewriting'],
  frozen: ['frozen', 'giving', 'holding', 'taking-back', 'ended', 'released'],
  giving: ['given', 'taking-back'],
  given: ['given', 'taking-back', 'released'],
  'taking-back': ['taking-back', 'holding'],
  released: [],
  ended: ['ended'],
} as const satisfies Record<SourceToken['kind'], readonly SourceToken['kind'][]>;

/** The token lets the guest run (a lapsed lease may still forbid it). */
export function mayRun(state: SourceToken): boolean {
  return state.kind === 'holding' || state.kind === 'rewriting';
}

/** The whole policy: what an event means in a state. */
export function stepSource(state: SourceToken, event: SourceEvent): SourceStep {
  switch (event.kind) {
    case 'freeze':
      return freeze(state, event.move);
    case 'hand-over':
      return handOver(state);
    case 'abort':
      return abort(state);
    case 'journalled':
      return journalled(state);
    case 'journal-failed':
      return journalFailed(state);
    case 'resend':
      return resend(state);
    case 'doubt':
      return isWaiting(state) ? moved(state, { kind: 'ask-arbiter' }) : IGNORED;
    case 'message':
      return hear(state, event.from, event.message);
    case 'regrant':
      return regrant(state, event);
    case 'discard':
      return isBelow(state, event.below) ? release() : IGNORED;
    case 'lease':
      return renew(state, event);
    case 'ended':
      return end(state);
  }
}

/** The epoch that the journal certainly has; undefined while it is being written, or without one. */
export function epochOnDisk(state: SourceToken): number | undefined {
  switch (state.kind) {
    case 'holding':
    case 'frozen':
      return state.tenure.epoch;
    case 'given':
      return state.move.epoch;
    case 'ended':
      return state.epoch;
    case 'rewriting':
    case 'giving':
    case 'taking-back':
    case 'released':
      return undefined;
  }
}

function freeze(state: SourceToken, move: PeerMove): SourceStep {
  if (state.kind !== 'holding') return refusal(`the token is ${state.kind}, not held`);
  const { epoch, from } = state.tenure;
  if (from !== null) return refusal(`host ${from.hostId} has not let go of this VM yet`);
  if (move.epoch <= epoch) return refusal(`epoch ${move.epoch} is used up, the VM is in ${epoch}`);
  return moved({ kind: 'frozen', tenure: state.tenure, move });
}

function handOver(state: SourceToken): SourceStep {
  if (state.kind !== 'frozen') return refusal(`the token is ${state.kind}, not frozen`);
  const { move } = state;
  const { lease } = state.tenure;
  const entry = { epoch: move.epoch, holder: { kind: 'given', move }, lease } as const;
  return moved({ kind: 'giving', move, lease }, { kind: 'journal', entry, again: false });
}

function abort(state: SourceToken): SourceStep {
  if (state.kind === 'frozen') {
    return moved({ kind: 'holding', tenure: state.tenure }, { kind: 'resume' });
  }
  if (state.kind === 'giving' || state.kind === 'given') {
    return refusal('the token is given: only its target may run');
  }
  return IGNORED;
}

function journalled(state: SourceToken): SourceStep {
  switch (state.kind) {
    case 'giving': {
      const { move, lease } = state;
      return moved({ kind: 'given', move, lease }, sendGive(move, lease));
    }
    case 'taking-back':
      return moved(
        { kind: 'holding', tenure: state.tenure },
        { kind: 'resume' },
        ...sendReply(state.reply),
      );
    case 'rewriting':
      return moved({ kind: 'holding', tenure: state.tenure }, ...sendReply(state.reply));
    default:
      return IGNORED;
  }
}

/** A write that failed may be on disk all the same: it is written over before anything else. */
function journalFailed(state: SourceToken): SourceStep {
  switch (state.kind) {
    case 'giving': {
      const tenure = { epoch: state.move.epoch, from: null, lease: state.lease };
      return moved({ kind: 'taking-back', tenure, reply: null }, journalSelf(tenure, true));
    }
    case 'taking-back':
    case 'rewriting':
      return moved(state, journalSelf(state.tenure, true));
    default:
      return IGNORED;
  }
}

function resend(state: SourceToken): SourceStep {
  if (state.kind === 'given') return moved(state, sendGive(state.move, state.lease));
  if (state.kind !== 'holding' || state.tenure.from === null) return IGNORED;
  const { from } = state.tenure;
  return moved(state, send(from.hostId, { kind: 'received', move: moveOf(from) }));
}

/** Something is open between this host and another. */
function isWaiting(state: SourceToken): boolean {
  return state.kind === 'given' || (state.kind === 'holding' && state.tenure.from !== null);
}

function hear(state: SourceToken, from: HostId, message: TokenMessage): SourceStep {
  const { move } = message;
  switch (message.kind) {
    case 'give':
      return (epochOnDisk(state) ?? 0) >= move.epoch
        ? moved(state, send(from, { kind: 'received', move }))
        : IGNORED;
    case 'received':
    case 'unknown':
      return state.kind === 'given' && isSameMove(state.move, move)
        ? release(send(from, { kind: 'released', move }))
        : IGNORED;
    case 'refused':
      return hearRefusal(state, from, move);
    case 'released':
      return hearRelease(state, move);
    case 'settled':
      return IGNORED;
  }
}

function hearRefusal(state: SourceToken, from: HostId, move: TokenMove): SourceStep {
  const settled: OutgoingMessage = { to: from, message: { kind: 'settled', move } };
  if ((state.kind === 'given' || state.kind === 'frozen') && isSameMove(state.move, move)) {
    const lease = state.kind === 'given' ? state.lease : state.tenure.lease;
    return takeBack({ epoch: move.epoch, from: null, lease }, settled);
  }
  if (state.kind === 'ended' || (epochOnDisk(state) ?? 0) >= move.epoch) {
    return moved(state, ...sendReply(settled));
  }
  if (state.kind !== 'holding') return IGNORED;
  return rewrite({ ...state.tenure, epoch: move.epoch }, settled);
}

function hearRelease(state: SourceToken, move: TokenMove): SourceStep {
  if (state.kind !== 'holding') return IGNORED;
  const { from } = state.tenure;
  if (from === null || !isSameMove(from, move)) return IGNORED;
  return rewrite({ ...state.tenure, from: null }, null);
}

function regrant(
  state: SourceToken,
  event: Extract<SourceEvent, { readonly kind: 'regrant' }>,
): SourceStep {
  const { move, epoch, lease } = event;
  if (state.kind !== 'given' || !isSameMove(state.move, move)) return IGNORED;
  if (epoch <= move.epoch) return refusal(`epoch ${epoch} is not above ${move.epoch}`);
  return takeBack({ epoch, from: null, lease }, null);
}

function renew(
  state: SourceToken,
  { epoch, lease }: { readonly epoch: number; readonly lease: RunLease },
): SourceStep {
  if (state.kind !== 'holding' || state.tenure.epoch !== epoch) return IGNORED;
  const current = state.tenure.lease;
  if (current === null || lease.untilMs <= current.untilMs) return IGNORED;
  return rewrite({ ...state.tenure, lease }, null);
}

function isBelow(state: SourceToken, below: number): boolean {
  const epoch = epochOnDisk(state);
  return state.kind !== 'ended' && epoch !== undefined && epoch < below;
}

function end(state: SourceToken): SourceStep {
  if (state.kind !== 'holding' && state.kind !== 'frozen') return IGNORED;
  return moved({ kind: 'ended', epoch: state.tenure.epoch });
}

function takeBack(tenure: Tenure, reply: OutgoingMessage | null): SourceStep {
  return moved({ kind: 'taking-back', tenure, reply }, journalSelf(tenure));
}

function rewrite(tenure: Tenure, reply: OutgoingMessage | null): SourceStep {
  return moved({ kind: 'rewriting', tenure, reply }, journalSelf(tenure));
}

function release(...last: readonly TokenEffect[]): SourceStep {
  return moved({ kind: 'released' }, { kind: 'fence' }, { kind: 'remove' }, ...last);
}

function sendGive(move: PeerMove, lease: RunLease | null): TokenEffect {
  return send(move.hostId, { kind: 'give', move: moveOf(move), lease });
}

function sendReply(reply: OutgoingMessage | null): readonly TokenEffect[] {
  return reply === null ? [] : [{ kind: 'send', ...reply }];
}
