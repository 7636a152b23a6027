/**
 * What follows from two hosts' words on one VM's token. Pure: the whole of the arbiter's judgement.
 *
 *   the first host's word    its peer, asked after that word      decision
 *   given to the peer        has it, or is past it                first: `received`
 *                            refused                              first: `refused`
 *                            reserved                             peer: `give`
 *                            no journal                           first: `unknown`, so it lets go
 *                            gone, says the provider              first: regrant
 *   reserved for the peer    given to the first                   first: `give`
 *                            past the move, ended, no journal     first: `settled`
 *                            holds, before the move               first: void
 *                            gone                                 first: `settled`
 *   refused to the peer      given to the first, or holds before  peer: `refused`
 *                            past the move, no journal, gone      first: `settled`
 *   holds, from the peer     given to the first                   peer: `received`
 *                            no journal, gone                     first: `released`
 *
 * Invariants:
 * - Nothing is granted anew but on the answers of both hosts, or of one and the provider's word that
 *   the other is gone. Silence decides nothing.
 * - What was granted before is known from the answers alone; nothing is remembered.
 * - A regrant goes on from the switch-over: what a target ran before it was gone is lost with it.
 * - The peer is asked after the word that names it, so its word is the newer one: a peer without
 *   a journal had one when the first host gave (its reservation) and is past the move.
 * - A target never gets what its source cannot be shown to have given, though all of the VM is
 *   loaded there and the source is gone: the source may have aborted and run on before it went.
 */
import type { HostId } from '../../host-agent/protocol/ids.ts';
import {
  isSameMove,
  type PeerMove,
  type TokenMessage,
  type TokenMove,
  type TokenVerdict,
  type TokenWord,
} from '../../host-agent/protocol/token-messages.ts';

export type Answer =
  | { readonly kind: 'word'; readonly word: TokenWord }
  | { readonly kind: 'silent' }
  /** The provider says that the machine does not exist any more. Final. */
  | { readonly kind: 'gone' };

export type Decision =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'tell'; readonly hostId: HostId; readonly verdict: TokenVerdict }
  /** The first host may have it back, whose `give` went to a host that is gone. */
  | { readonly kind: 'regrant'; readonly move: PeerMove; readonly leased: boolean };

/** One round's result: who was asked first and said what; what its peer then said. */
export interface Hearing {
  readonly hostId: HostId;
  readonly word: TokenWord;
  readonly peer: PeerMove;
  readonly answer: Answer;
}

const NOTHING: Decision = { kind: 'nothing' };
const VOID_WHY = 'The source still holds this VM.';

/** The move that a word leaves open and the host at its other end; undefined: nothing is open. */
export function openMove(word: TokenWord): PeerMove | undefined {
  switch (word.kind) {
    case 'given':
    case 'reserved':
    case 'refused':
      return word.move;
    case 'holds':
      return word.from ?? undefined;
    case 'none':
    case 'ended':
      return undefined;
  }
}

export function decide(hearing: Hearing): Decision {
  const { word, answer } = hearing;
  if (answer.kind === 'silent') return NOTHING;
  switch (word.kind) {
    case 'given':
      return decideGiven(hearing, answer, word.lease !== null);
    case 'reserved':
      return decideReserved(hearing, answer);
    case 'refused':
      return decideRefused(hearing, answer, word.why);
    case 'holds':
      return decideHolds(hearing, answer);
    case 'none':
    case 'ended':
      return NOTHING;
  }
}

type Heard = Exclude<Answer, { readonly kind: 'silent' }>;

function decideGiven({ hostId, word, peer }: Hearing, answer: Heard, leased: boolean): Decision {
  if (answer.kind === 'gone') return { kind: 'regrant', move: peer, leased };
  const target = answer.word;
  const move = plain(peer);
  const toSource = (message: TokenMessage) => relay(peer.hostId, message, hostId);
  if (target.kind === 'none') return toSource({ kind: 'unknown', move });
  if (target.kind === 'reserved' || target.kind === 'refused') {
    if (!isSameMove(target.move, peer)) return NOTHING;
    if (target.kind === 'refused') return toSource({ kind: 'refused', move, why: target.why });
    const lease = word.kind === 'given' ? word.lease : null;
    return relay(hostId, { kind: 'give', move, lease }, peer.hostId);
  }
  return isPast(target, peer) ? toSource({ kind: 'received', move }) : NOTHING;
}

function decideReserved({ hostId, peer }: Hearing, answer: Heard): Decision {
  const move = plain(peer);
  const settled = relay(peer.hostId, { kind: 'settled', move }, hostId);
  if (answer.kind === 'gone') return settled;
  const source = answer.word;
  if (source.kind === 'given' && isSameMove(source.move, peer)) {
    return relay(peer.hostId, { kind: 'give', move, lease: source.lease }, hostId);
  }
  if (isPast(source, peer)) return settled;
  return { kind: 'tell', hostId, verdict: { kind: 'void', move, why: VOID_WHY } };
}

function decideRefused({ hostId, peer }: Hearing, answer: Heard, why: string): Decision {
  const move = plain(peer);
  const settled = relay(peer.hostId, { kind: 'settled', move }, hostId);
  if (answer.kind === 'gone') return settled;
  const source = answer.word;
  const isOpen = source.kind === 'given' && isSameMove(source.move, peer);
  if (!isOpen && isPast(source, peer)) return settled;
  return relay(hostId, { kind: 'refused', move, why }, peer.hostId);
}

function decideHolds({ hostId, peer }: Hearing, answer: Heard): Decision {
  const move = plain(peer);
  const released = relay(peer.hostId, { kind: 'released', move }, hostId);
  if (answer.kind === 'gone' || answer.word.kind === 'none') return released;
  const { word } = answer;
  if (word.kind !== 'given' || !isSameMove(word.move, peer)) return NOTHING;
  return relay(hostId, { kind: 'received', move }, peer.hostId);
}

/** The host's journal shows that this move will not be given from there, or was received there. */
function isPast(word: TokenWord, move: TokenMove): boolean {
  switch (word.kind) {
    case 'none':
    case 'ended':
      return true;
    case 'holds':
      return word.epoch >= move.epoch;
    case 'given':
    case 'reserved':
    case 'refused':
      return word.move.epoch >= move.epoch;
  }
}

function relay(from: HostId, message: TokenMessage, hostId: HostId): Decision {
  return { kind: 'tell', hostId, verdict: { kind: 'relay', from, message } };
}

function plain({ migrationId, epoch }: PeerMove): TokenMove {
  return { migrationId, epoch };
}
