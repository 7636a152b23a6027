/**
 * The token on the host that a VM is to move to, from its reservation on. Pure.
 *
 *   reserving ──journalled──→ reserved ──give, and loaded──→ receiving ──journalled──→ starting ──ran──→ received
 *       │                      │    │                           │                        │
 *       │ journal-failed       │    │ refuse, void, give        │ journal-failed         │ never-ran
 *       ▼                      │    ▼ before it is loaded       │                        │
 *    dropped ←──────settled────┘  refusing ←────────────────────┴────────────────────────┘
 *       ▲                           │
 *       └────settled──── refused ←──┘ journalled
 *
 * Invariants:
 * - Nothing is answered that is not on disk: `received` after *self*, `refused` after *refused*.
 * - The guest runs only from `starting` on; with `received` source-token.ts goes on as `holding`.
 * - A token that is *self* on disk is refused only by the agent that wrote it, if `cont` was never
 *   sent: nobody has heard of it, and the source has all that there is. An agent that is restarted
 *   cannot know that, so it never does.
 * - A refusal is for good: neither `give` nor a restart brings the move back.
 * - The journal stays until nobody can ask about the move any more: a refusal until `settled`. So a
 *   host without a journal has either never been offered the move or is past it.
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
  send,
  type Tenure,
  type TokenEffect,
  type TokenStep,
} from './token-step.ts';

export type TargetToken =
  | { readonly kind: 'reserving'; readonly move: PeerMove }
  | { readonly kind: 'reserved'; readonly move: PeerMove; readonly loaded: boolean }
  | { readonly kind: 'receiving'; readonly move: PeerMove; readonly lease: RunLease | null }
  | { readonly kind: 'starting'; readonly move: PeerMove; readonly tenure: Tenure }
  /** The token is here: from now on source-token.ts has it. */
  | { readonly kind: 'received'; readonly tenure: Tenure }
  | { readonly kind: 'refusing'; readonly move: PeerMove; readonly why: string }
  | { readonly kind: 'refused'; readonly move: PeerMove; readonly why: string }
  | { readonly kind: 'dropped' };

export type TargetEvent =
  | { readonly kind: 'journalled' }
  | { readonly kind: 'journal-failed' }
  /** `cont` was sent, or will be when the lease allows. */
  | { readonly kind: 'ran' }
  /** Its QEMU ended before `cont` was sent, so that it never will be. */
  | { readonly kind: 'never-ran' }
  /** Memory, disk and devices are here, and QEMU is paused with them. */
  | { readonly kind: 'loaded' }
  /** This host does not take the VM after all. */
  | { readonly kind: 'refuse'; readonly why: string }
  /** The control plane wants the same. */
  | { readonly kind: 'void'; readonly move: TokenMove; readonly why: string }
  /** Time to say again what was not answered. */
  | { readonly kind: 'resend' }
  /** The source has been silent for too long. */
  | { readonly kind: 'doubt' }
  | { readonly kind: 'message'; readonly from: HostId; readonly message: TokenMessage }
  | { readonly kind: 'discard'; readonly below: number };

export type TargetStep = TokenStep<TargetToken>;

/** Which states each state may become; `stepTarget` is tested against it. */
export const TARGET_TRANSITIONS = {
  reserving: ['reserved', 'dropped'],
  reserved: ['reserved', 'receiving', 'refusing', 'dropped'],
  receiving: ['starting', 'refusing'],
  starting: ['received', 'refusing'],
  received: [],
  refusing: ['refusing', 'refused'],
  refused: ['refused', 'dropped'],
  dropped: [],
} as const satisfies Record<TargetToken['kind'], readonly TargetToken['kind'][]>;

const NOT_LOADED = 'The token came before the VM was loaded here.';
const NOT_JOURNALLED = 'The host could not journal that it has the token.';
const NEVER_RAN = 'QEMU ended before the VM ran here.';

/**
 * Reserves this host for a move; the source may not be told before this is journalled. The caller
 * has made sure that there is no journal of the VM here, or a refusal of a lower epoch.
 */
export function beginReservation(move: PeerMove): {
  readonly state: TargetToken;
  readonly effects: readonly TokenEffect[];
} {
  const entry = { epoch: move.epoch, holder: { kind: 'reserved', move }, lease: null } as const;
  return {
    state: { kind: 'reserving', move },
    effects: [{ kind: 'journal', entry, again: false }],
  };
}

/** The whole policy: what an event means in a state. */
export function stepTarget(state: TargetToken, event: TargetEvent): TargetStep {
  switch (event.kind) {
    case 'journalled':
      return journalled(state);
    case 'journal-failed':
      return journalFailed(state);
    case 'ran':
      return state.kind === 'starting' ? receive(state) : IGNORED;
    case 'never-ran':
      return state.kind === 'starting' ? writeRefusal(state.move, NEVER_RAN, false) : IGNORED;
    case 'loaded':
      return state.kind === 'reserved' ? moved({ ...state, loaded: true }) : IGNORED;
    case 'refuse':
      return refuse(state, event.why);
    case 'void':
      return isAbout(state, event.move) ? refuse(state, event.why) : IGNORED;
    case 'resend':
      return state.kind === 'refused' ? moved(state, sendRefused(state)) : IGNORED;
    case 'doubt':
      return isWaiting(state) ? moved(state, { kind: 'ask-arbiter' }) : IGNORED;
    case 'message':
      return hear(state, event.message);
    case 'discard':
      return isWaiting(state) && state.move.epoch < event.below ? drop() : IGNORED;
  }
}

function journalled(state: TargetToken): TargetStep {
  switch (state.kind) {
    case 'reserving':
      return moved({ kind: 'reserved', move: state.move, loaded: false });
    case 'receiving': {
      const { move, lease } = state;
      const tenure: Tenure = { epoch: move.epoch, from: move, lease };
      return moved({ kind: 'starting', move, tenure }, { kind: 'run' });
    }
    case 'refusing': {
      const refused = { kind: 'refused', move: state.move, why: state.why } as const;
      return moved(refused, sendRefused(refused));
    }
    default:
      return IGNORED;
  }
}

/** A write that failed may be on disk all the same: it is written over before anything is said. */
function journalFailed(state: TargetToken): TargetStep {
  switch (state.kind) {
    case 'reserving':
      return drop();
    case 'receiving':
      return writeRefusal(state.move, NOT_JOURNALLED, true);
    case 'refusing':
      return writeRefusal(state.move, state.why, true);
    default:
      return IGNORED;
  }
}

function hear(state: TargetToken, message: TokenMessage): TargetStep {
  if (!isAbout(state, message.move)) return IGNORED;
  switch (message.kind) {
    case 'give':
      return hearGive(state, message.lease);
    case 'settled':
      return drop();
    case 'received':
    case 'refused':
    case 'unknown':
    case 'released':
      return IGNORED;
  }
}

function hearGive(state: TargetToken, lease: RunLease | null): TargetStep {
  if (state.kind === 'refused') return moved(state, sendRefused(state));
  if (state.kind !== 'reserved') return IGNORED;
  if (!state.loaded) return refuse(state, NOT_LOADED);
  const { move } = state;
  const tenure: Tenure = { epoch: move.epoch, from: move, lease };
  return moved({ kind: 'receiving', move, lease }, journalSelf(tenure));
}

function receive({
  move,
  tenure,
}: Extract<TargetToken, { readonly kind: 'starting' }>): TargetStep {
  const received = send(move.hostId, { kind: 'received', move: moveOf(move) });
  return moved({ kind: 'received', tenure }, received);
}

function refuse(state: TargetToken, why: string): TargetStep {
  return state.kind === 'reserved' ? writeRefusal(state.move, why, false) : IGNORED;
}

function writeRefusal(move: PeerMove, why: string, again: boolean): TargetStep {
  const entry = {
    epoch: move.epoch,
    holder: { kind: 'refused', move, why },
    lease: null,
  } as const;
  return moved({ kind: 'refusing', move, why }, { kind: 'journal', entry, again });
}

function drop(): TargetStep {
  return moved({ kind: 'dropped' }, { kind: 'remove' });
}

function sendRefused({ move, why }: Extract<TargetToken, { readonly kind: 'refused' }>) {
  return send(move.hostId, { kind: 'refused', move: moveOf(move), why });
}

function isWaiting(
  state: TargetToken,
): state is Extract<TargetToken, { readonly kind: 'reserved' | 'refused' }> {
  return state.kind === 'reserved' || state.kind === 'refused';
}

/** Its journal is on disk, and it is of this move. */
function isAbout(state: TargetToken, move: TokenMove): boolean {
  return isWaiting(state) && isSameMove(state.move, move);
}
