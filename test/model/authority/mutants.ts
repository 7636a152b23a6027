/**
 * Production's decisions, each with one thing wrong that somebody might get wrong, and the bounds in
 * which the exploration must notice.
 */
import { stepArbiter } from '../../../app/authority/arbiter.ts';
import {
  grantLease,
  judgeLease,
  judgeRewind,
  LEASE_MARGIN_MS,
} from '../../../app/authority/rewind.ts';
import { recoverToken } from '../../../host-agent/authority/recover-token.ts';
import { stepSource } from '../../../host-agent/authority/source-token.ts';
import { stepTarget } from '../../../host-agent/authority/target-token.ts';
import {
  moved,
  moveOf,
  send,
  type TokenEffect,
  type TokenStep,
} from '../../../host-agent/authority/token-step.ts';
import { GUEST_STOP_LIMIT_MS } from '../../../host-agent/protocol/token-messages.ts';
import { type Bounds, CI_BOUNDS } from './bounds.ts';
import { type Machines, PRODUCTION } from './machines.ts';

export interface Mutant {
  readonly what: string;
  readonly bounds: Bounds;
  readonly machines: Machines;
}

const ONE_MOVE = CI_BOUNDS['one move'];
const REWIND = CI_BOUNDS.rewind;
/** A chain of three hosts, of which one goes. */
const CHAIN: Bounds = CI_BOUNDS['two moves, a host goes'];

const TARGET: readonly Mutant[] = [
  mutant('the target runs as soon as it is loaded', ONE_MOVE, {
    stepTarget(state, event) {
      const step = stepTarget(state, event);
      return event.kind === 'loaded' ? plus(step, { kind: 'resume' }) : step;
    },
  }),
  mutant('the target runs on give, and does not journal it', ONE_MOVE, {
    stepTarget(state, event) {
      const step = stepTarget(state, event);
      return skipJournal(step, 'receiving', stepTarget);
    },
  }),
  mutant('the target answers received before it is on disk', ONE_MOVE, {
    stepTarget(state, event) {
      const step = stepTarget(state, event);
      if (step.kind !== 'moved' || step.state.kind !== 'receiving') return step;
      const { move } = step.state;
      return plus(step, send(move.hostId, { kind: 'received', move: moveOf(move) }));
    },
  }),
  mutant('the target gives the token back after cont', ONE_MOVE, {
    stepTarget: (state, event) =>
      stepTarget(state, event.kind === 'ran' ? { kind: 'never-ran' } : event),
  }),
  mutant('the target gives the token back when it finds no QEMU at a restart', ONE_MOVE, {
    recoverToken(entry, isLoaded) {
      const { holder, epoch } = entry;
      if (holder.kind !== 'self' || holder.from === null || isLoaded) {
        return recoverToken(entry, isLoaded);
      }
      const refused = { kind: 'refused', move: holder.from, why: '' } as const;
      return recoverToken({ epoch, holder: refused, lease: null }, false);
    },
  }),
  mutant('the target says received before it knows whether its guest runs', ONE_MOVE, {
    stepTarget(state, event) {
      const step = stepTarget(state, event);
      if (step.kind !== 'moved' || step.state.kind !== 'starting') return step;
      const { move } = step.state;
      return plus(step, send(move.hostId, { kind: 'received', move: moveOf(move) }));
    },
  }),
  mutant('the target goes on as the holder though it has nothing to run', ONE_MOVE, {
    stepTarget: (state, event) =>
      stepTarget(state, event.kind === 'never-ran' ? { kind: 'ran' } : event),
  }),
  mutant('a refusal is not durable', ONE_MOVE, {
    stepTarget(state, event) {
      const step = stepTarget(state, event);
      return skipJournal(step, 'refusing', stepTarget);
    },
  }),
  mutant('a refusal is forgotten at a restart', ONE_MOVE, {
    recoverToken(entry, isLoaded) {
      const { holder } = entry;
      if (holder.kind !== 'refused') return recoverToken(entry, isLoaded);
      return recoverToken({ ...entry, holder: { kind: 'reserved', move: holder.move } }, isLoaded);
    },
  }),
  mutant('a give is taken up after the refusal', ONE_MOVE, {
    stepTarget(state, event) {
      const isGive = event.kind === 'message' && event.message.kind === 'give';
      if (!isGive || state.kind !== 'refused') return stepTarget(state, event);
      return stepTarget({ kind: 'reserved', move: state.move, loaded: true }, event);
    },
  }),
  mutant('a second give is answered received after the refusal', ONE_MOVE, {
    stepTarget(state, event) {
      const isGive = event.kind === 'message' && event.message.kind === 'give';
      if (!isGive || state.kind !== 'refused') return stepTarget(state, event);
      return moved(state, send(state.move.hostId, { kind: 'received', move: moveOf(state.move) }));
    },
  }),
  mutant('a target that is not loaded takes the token', ONE_MOVE, {
    stepTarget(state, event) {
      const isReserved = state.kind === 'reserved' && event.kind === 'message';
      return stepTarget(isReserved ? { ...state, loaded: true } : state, event);
    },
    recoverToken: (entry) => recoverToken(entry, true),
  }),
];

const SOURCE: readonly Mutant[] = [
  mutant('the source resumes after given', ONE_MOVE, {
    stepSource(state, event) {
      if (state.kind !== 'given' || event.kind !== 'abort') return stepSource(state, event);
      const tenure = { epoch: state.move.epoch, from: null, lease: state.lease };
      return moved({ kind: 'holding', tenure }, { kind: 'resume' });
    },
  }),
  mutant('the source gives before given is on disk', ONE_MOVE, {
    stepSource(state, event) {
      const step = stepSource(state, event);
      return skipJournal(step, 'giving', stepSource);
    },
  }),
  mutant('the source restarts as the holder though it has given', ONE_MOVE, {
    recoverToken(entry, isLoaded) {
      const { holder } = entry;
      if (holder.kind !== 'given') return recoverToken(entry, isLoaded);
      return recoverToken({ ...entry, holder: { kind: 'self', from: null } }, isLoaded);
    },
  }),
  mutant('a journal that failed counts as unwritten', ONE_MOVE, {
    stepSource(state, event) {
      if (state.kind !== 'giving' || event.kind !== 'journal-failed') {
        return stepSource(state, event);
      }
      const tenure = { epoch: state.move.epoch, from: null, lease: state.lease };
      return moved({ kind: 'holding', tenure }, { kind: 'resume' });
    },
  }),
  mutant('a refusal is settled and the token given all the same', ONE_MOVE, {
    stepSource(state, event) {
      const isRefusal = event.kind === 'message' && event.message.kind === 'refused';
      if (!isRefusal || state.kind !== 'frozen') return stepSource(state, event);
      const { move } = event.message;
      return moved(state, send(event.from, { kind: 'settled', move }));
    },
  }),
  mutant('the source never asks and never says it again', ONE_MOVE, {
    stepSource(state, event) {
      const isAgain = event.kind === 'resend' || event.kind === 'doubt';
      return isAgain ? { kind: 'ignored' } : stepSource(state, event);
    },
    recoverToken: (entry, isLoaded) => ({ ...recoverToken(entry, isLoaded), effects: [] }),
  }),
  mutant('the token goes on before its last holder has let go', CHAIN, {
    stepSource(state, event) {
      if (state.kind !== 'holding' || event.kind !== 'freeze') return stepSource(state, event);
      return stepSource({ ...state, tenure: { ...state.tenure, from: null } }, event);
    },
  }),
];

const ARBITER: readonly Mutant[] = [
  mutant('the arbiter takes silence for the end of a host', ONE_MOVE, {
    stepArbiter(state, event) {
      const isSilence = event.kind === 'answer' && event.answer.kind === 'silent';
      return stepArbiter(state, isSilence ? { ...event, answer: { kind: 'gone' } } : event);
    },
  }),
  mutant('the arbiter takes a reservation for a refusal', ONE_MOVE, {
    stepArbiter(state, event) {
      if (event.kind !== 'answer' || event.answer.kind !== 'word') return stepArbiter(state, event);
      const { word } = event.answer;
      if (word.kind !== 'reserved' || state.kind !== 'asking-peer') {
        return stepArbiter(state, event);
      }
      const refused = { kind: 'refused', move: word.move, why: '' } as const;
      return stepArbiter(state, { ...event, answer: { kind: 'word', word: refused } });
    },
  }),
];

const TIME: readonly Mutant[] = [
  mutant('a lapsed lease does not stop the guest', REWIND, { leaseAllows: () => true }),
  mutant('the clocks are taken to agree', REWIND, {
    judgeRewind: (situation) =>
      judgeRewind({ ...situation, nowMs: situation.nowMs + LEASE_MARGIN_MS - GUEST_STOP_LIMIT_MS }),
  }),
  mutant('a lease that was forgotten counts as none', REWIND, {
    judgeRewind: (situation) =>
      situation.leaseUntilMs === undefined ? { kind: 'rewind' } : judgeRewind(situation),
  }),
  mutant('an overtaken holder gets its lease', REWIND, {
    judgeLease: ({ nowMs }) => ({ kind: 'grant', lease: grantLease(nowMs) }),
  }),
  mutant('a rewind takes the next epoch only, as a move does', REWIND, {
    epochOfRewind: (epoch) => epoch + 1,
    judgeLease: (holder) =>
      holder.claim !== undefined && holder.epoch < holder.claim.epoch
        ? { kind: 'overtaken', below: holder.claim.epoch }
        : judgeLease({ ...holder, claim: undefined }),
  }),
  mutant('the overtaken do not discard', REWIND, {
    stepSource: (state, event) =>
      event.kind === 'discard' ? { kind: 'ignored' } : stepSource(state, event),
  }),
];

export const MUTANTS: readonly Mutant[] = [...TARGET, ...SOURCE, ...ARBITER, ...TIME];

function mutant(what: string, bounds: Bounds, change: Partial<Machines>): Mutant {
  return { what, bounds, machines: { ...PRODUCTION, ...change } };
}

function plus<State>(step: TokenStep<State>, ...effects: readonly TokenEffect[]): TokenStep<State> {
  return step.kind === 'moved' ? { ...step, effects: [...step.effects, ...effects] } : step;
}

/** Goes on as if the entry that this state writes were on disk. */
function skipJournal<State extends { readonly kind: string }>(
  step: TokenStep<State>,
  writing: State['kind'],
  next: (state: State, event: { readonly kind: 'journalled' }) => TokenStep<State>,
): TokenStep<State> {
  if (step.kind !== 'moved' || step.state.kind !== writing) return step;
  return next(step.state, { kind: 'journalled' });
}
