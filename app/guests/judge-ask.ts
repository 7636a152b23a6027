/**
 * What a job is told of its VM, and what its wishes make of the VM's record. Pure.
 *
 *   not held ──hold──→ held ──hold──→ held, as before
 *      ↑                 └──release──→ not held
 *      └── the VM ends with its job
 *
 * Only the host that the VM's record names is believed: one that was broken into asks and wishes for
 * its own VMs only, and a VM that moves is answered again when its record says where it is.
 */
import {
  askAgain,
  type GuestAnswer,
  type GuestAsk,
  type GuestView,
} from '../../host-agent/protocol/guest-api.ts';
import { formatInstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { HostPrice } from '../records/job-cost.ts';
import { shareOfHost } from '../records/job-cost.ts';
import { isOpenMove, type MigrationRecord } from '../records/migration-record.ts';
import type { VmRecord } from '../records/records.ts';
import type { GuestQuestion } from './ports.ts';

/** What is known of the VM that asks. */
export interface Known {
  readonly vm: VmRecord | undefined;
  /** All attempts to move it. */
  readonly moves: readonly Pick<MigrationRecord, 'phase'>[];
  /** Of its host, in the order of time. */
  readonly prices: readonly HostPrice[];
}

export type Judgement =
  | { readonly kind: 'answer'; readonly answer: GuestAnswer }
  /** Its record is to say so before it is answered. */
  | { readonly kind: 'change'; readonly held: VmRecord['held'] };

export function judgeAsk(question: GuestQuestion, known: Known): Judgement {
  const { vm } = known;
  if (vm === undefined || vm.hostId !== question.hostId)
    return later('The control plane does not know yet that this VM is here.');
  const held = heldAfter(question.ask, vm, known.moves);
  if (held === vm.held)
    return { kind: 'answer', answer: { kind: 'ok', view: viewOf(vm, question, known) } };
  if (held !== null && known.moves.some(isOpenMove))
    return later('The VM is being moved; it can be held when that is over.');
  return { kind: 'change', held };
}

function heldAfter(ask: GuestAsk, { held }: VmRecord, moves: Known['moves']): VmRecord['held'] {
  if (ask.kind === 'look') return held;
  return ask.held ? (held ?? { movesBefore: countMoves(moves) }) : null;
}

function viewOf(vm: VmRecord, { cpuModel }: GuestQuestion, known: Known): GuestView {
  const moves = countMoves(known.moves);
  const price = known.prices.at(-1);
  return {
    class: formatInstanceClass(vm.class),
    cpuModel,
    pricePerHourUsd: price === undefined ? null : price.usdPerHour * shareOfHost(vm, price),
    moves,
    held: vm.held !== null,
    movesWhileHeld: vm.held === null ? 0 : Math.max(0, moves - vm.held.movesBefore),
  };
}

/** The VM runs elsewhere than before: moved live, parked and resumed, or rewound. */
function countMoves(moves: Known['moves']): number {
  return moves.filter(({ phase }) => phase === 'committed' || phase === 'done').length;
}

function later(why: string): Judgement {
  return { kind: 'answer', answer: askAgain(why) };
}
