/**
 * What a restarted agent knows of a VM's token: what the journal says, and nothing else. Pure.
 *
 *   self       holding; resumes its guest (the lease permitting), asks its predecessor to let go
 *   given      given; says `give` again and asks the control plane
 *   reserved   loaded here still: reserved, and asks the control plane
 *              otherwise: refuses, for the token would find nothing to run
 *   refused    refused; says so again
 *
 * A VM whose journal is not *self* is not touched before an answer has come.
 */
import type { TokenEntry } from '../journal/token.ts';
import { type SourceToken, stepSource } from './source-token.ts';
import { stepTarget, type TargetToken } from './target-token.ts';
import { moveOf, send, type TokenEffect } from './token-step.ts';

interface Recovered<State> {
  readonly state: State;
  readonly effects: readonly TokenEffect[];
}

export type RecoveredToken =
  | ({ readonly role: 'source' } & Recovered<SourceToken>)
  | ({ readonly role: 'target' } & Recovered<TargetToken>);

const LOST_LOAD = 'The host-agent was restarted before the VM was loaded.';

/**
 * `isLoaded`: whether QEMU stands paused here with the VM's whole state in it (its incoming
 * migration is complete). Only a reservation asks for that.
 */
export function recoverToken(entry: TokenEntry, isLoaded: boolean): RecoveredToken {
  const { holder } = entry;
  switch (holder.kind) {
    case 'self':
    case 'given':
      return { role: 'source', ...recoverSource({ ...entry, holder }) };
    case 'reserved':
    case 'refused':
      return { role: 'target', ...recoverTarget({ ...entry, holder }, isLoaded) };
  }
}

type Holder<Kind> = Extract<TokenEntry['holder'], { readonly kind: Kind }>;
type Entry<Kind> = Omit<TokenEntry, 'holder'> & { readonly holder: Holder<Kind> };

/** The source's machine after a restart. */
export function recoverSource({
  epoch,
  holder,
  lease,
}: Entry<'self' | 'given'>): Recovered<SourceToken> {
  if (holder.kind === 'given') {
    const { move } = holder;
    const give = send(move.hostId, { kind: 'give', move: moveOf(move), lease });
    return { state: { kind: 'given', move, lease }, effects: [give, { kind: 'ask-arbiter' }] };
  }
  const holding = { kind: 'holding', tenure: { epoch, from: holder.from, lease } } as const;
  const again = stepSource(holding, { kind: 'resend' });
  const sent = again.kind === 'moved' ? again.effects : [];
  return { state: holding, effects: [{ kind: 'resume' }, ...sent] };
}

/** The target's machine after a restart. */
export function recoverTarget(
  { holder }: Entry<'reserved' | 'refused'>,
  isLoaded: boolean,
): Recovered<TargetToken> {
  if (holder.kind === 'refused') {
    const { move, why } = holder;
    const refused = send(move.hostId, { kind: 'refused', move: moveOf(move), why });
    return { state: { kind: 'refused', move, why }, effects: [refused] };
  }
  const { move } = holder;
  const reserved = { kind: 'reserved', move, loaded: isLoaded } as const;
  if (isLoaded) return { state: reserved, effects: [{ kind: 'ask-arbiter' }] };
  const refusing = stepTarget(reserved, { kind: 'refuse', why: LOST_LOAD });
  if (refusing.kind !== 'moved') return { state: reserved, effects: [{ kind: 'ask-arbiter' }] };
  return refusing;
}
