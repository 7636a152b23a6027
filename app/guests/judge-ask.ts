/**
 * What a job is told of its VM, and what its wishes make of the VM's record. Pure.
 *
 *   not held ──hold──→ held ──hold──→ held, as before
 *      ↑                 └──release──→ not held
 *      └── the VM ends with its job
 *
 *   what a wish for another size becomes: app/records/vm-resize.ts
 *
 * Only the host that the VM's record names is believed: one that was broken into asks and wishes for
 * its own VMs only, and a VM that moves is answered again when its record says where it is.
 */
import type { Refused } from '../../host-agent/protocol/errors.ts';
import {
  askAgain,
  type GuestAnswer,
  type GuestAsk,
  type GuestView,
  MAX_TOLD_BLACKOUTS,
} from '../../host-agent/protocol/guest-api.ts';
import { formatInstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { VmSize } from '../../host-agent/protocol/resize-messages.ts';
import { type HostPrice, type JobCost, shareOfHost } from '../records/job-cost.ts';
import { isOpenMove, type MigrationRecord } from '../records/migration-record.ts';
import type { VmRecord } from '../records/records.ts';
import { hasSize, type ResizeWish } from '../records/vm-resize.ts';
import type { GuestQuestion } from './ports.ts';

/** What is known of the VM that asks. */
export interface Known {
  readonly vm: VmRecord | undefined;
  /** All attempts to move it. */
  readonly moves: readonly Pick<MigrationRecord, 'phase' | 'blackoutMs'>[];
  /** Of its host, in the order of time. */
  readonly prices: readonly HostPrice[];
  /** Of the VM so far; undefined: not known. */
  readonly cost: JobCost | undefined;
  /** What a class comes to for its job, or why it may not have it. */
  readonly sizeFor: (name: string | null) => VmSize | Refused;
  readonly nowMs: number;
}

export type Judgement =
  | { readonly kind: 'answer'; readonly answer: GuestAnswer }
  /** Its record is to say so before it is answered. */
  | { readonly kind: 'change'; readonly change: Partial<Pick<VmRecord, 'held' | 'resize'>> };

export function judgeAsk(question: GuestQuestion, known: Known): Judgement {
  const { vm } = known;
  const { ask } = question;
  if (vm === undefined || vm.hostId !== question.hostId)
    return later('The control plane does not know yet that this VM is here.');
  const changed = ask.kind === 'look' ? undefined : judgeWish(ask, vm, known);
  if (changed !== undefined) return changed;
  return { kind: 'answer', answer: { kind: 'ok', view: viewOf(vm, question, known) } };
}

/** Undefined: the record says so already. */
function judgeWish(
  ask: Exclude<GuestAsk, { readonly kind: 'look' }>,
  vm: VmRecord,
  known: Known,
): Judgement | undefined {
  if (ask.kind === 'resize') return judgeResize(ask.class, vm, known);
  const { moves } = known;
  const held = ask.held ? (vm.held ?? { movesBefore: moves.filter(hasMoved).length }) : null;
  if (held === vm.held) return undefined;
  if (held !== null && moves.some(isOpenMove))
    return later('The VM is being moved; it can be held when that is over.');
  return { kind: 'change', change: { held } };
}

/** One that is wanted is not begun a second time; what is done stands while the VM has that size. */
function judgeResize(
  name: string | null,
  { class: has, resize, rewindable }: VmRecord,
  { sizeFor, nowMs }: Known,
): Judgement | undefined {
  const size = sizeFor(name);
  if ('kind' in size) return never(size.why);
  if (rewindable)
    return never('Its job may be rewound to a checkpoint, which is of the size it has.');
  const state = hasSize(has, size) ? 'done' : 'wanted';
  if (resize?.class === name && resize.state === state) return undefined;
  const wish: ResizeWish = { class: name, size, state, why: null, askedAtMs: Math.round(nowMs) };
  return { kind: 'change', change: { resize: wish } };
}

function viewOf(vm: VmRecord, { cpuModel }: GuestQuestion, known: Known): GuestView {
  const moves = known.moves.filter(hasMoved);
  const price = known.prices.at(-1);
  const { held, resize } = vm;
  return {
    class: formatInstanceClass(vm.class),
    cpuModel,
    pricePerHourUsd: price === undefined ? null : price.usdPerHour * shareOfHost(vm, price),
    moves: moves.length,
    blackoutsMs: moves.map(({ blackoutMs }) => blackoutMs).slice(-MAX_TOLD_BLACKOUTS),
    cost: known.cost ?? null,
    held: held !== null,
    movesWhileHeld: held === null ? 0 : Math.max(0, moves.length - held.movesBefore),
    resize: resize === null ? null : { class: resize.class, state: resize.state, why: resize.why },
  };
}

/** The VM runs elsewhere than before: moved live, parked and resumed, or rewound. */
function hasMoved({ phase }: Pick<MigrationRecord, 'phase'>): boolean {
  return phase === 'committed' || phase === 'done';
}

function never(why: string): Judgement {
  return { kind: 'answer', answer: { kind: 'refused', why, retry: 'never' } };
}

function later(why: string): Judgement {
  return { kind: 'answer', answer: askAgain(why) };
}
