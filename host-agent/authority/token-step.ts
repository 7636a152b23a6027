/** What the token's two machines have in common: their effects, their answers, and who holds what. */
import type { TokenEntry } from '../journal/token.ts';
import type { HostId } from '../protocol/ids.ts';
import type { PeerMove, RunLease, TokenMessage } from '../protocol/token-messages.ts';

/** One holder's time with the token. */
export interface Tenure {
  readonly epoch: number;
  /** Who gave it, until that host has said that it let go. */
  readonly from: PeerMove | null;
  readonly lease: RunLease | null;
}

export interface OutgoingMessage {
  readonly to: HostId;
  readonly message: TokenMessage;
}

export type TokenEffect =
  /** Durably; answered by `journalled` or `journal-failed`. `again`: it failed before, wait first. */
  | { readonly kind: 'journal'; readonly entry: TokenEntry; readonly again: boolean }
  | ({ readonly kind: 'send' } & OutgoingMessage)
  | { readonly kind: 'ask-arbiter' }
  /** QMP `cont`, as soon as the lease allows. */
  | { readonly kind: 'resume' }
  /** The same for a guest that has not run here yet; answered by `ran` or `never-ran`. */
  | { readonly kind: 'run' }
  /** The guest's packets from this host count no more. */
  | { readonly kind: 'fence' }
  /** End QEMU, remove the folder, then the journal, last of all. */
  | { readonly kind: 'remove' };

export type TokenStep<State> =
  | { readonly kind: 'moved'; readonly state: State; readonly effects: readonly TokenEffect[] }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'refused'; readonly why: string };

export const IGNORED = { kind: 'ignored' } as const;

export function moved<State>(state: State, ...effects: TokenEffect[]): TokenStep<State> {
  return { kind: 'moved', state, effects };
}

export function refusal(why: string): { readonly kind: 'refused'; readonly why: string } {
  return { kind: 'refused', why };
}

export function send(to: HostId, message: TokenMessage): TokenEffect {
  return { kind: 'send', to, message };
}

export function journalSelf({ epoch, from, lease }: Tenure, again = false): TokenEffect {
  return { kind: 'journal', entry: { epoch, holder: { kind: 'self', from }, lease }, again };
}

export function moveOf({ migrationId, epoch }: PeerMove) {
  return { migrationId, epoch };
}

/**
 * The answer of a host that has no journal of the VM; undefined: none is needed. Such a host never
 * gives nor takes up a move that it knew once: its journal outlives every doubt about it.
 */
export function answerWithoutJournal(message: TokenMessage): TokenMessage | undefined {
  const { move } = message;
  switch (message.kind) {
    case 'give':
      return { kind: 'unknown', move };
    case 'received':
      return { kind: 'released', move };
    case 'refused':
      return { kind: 'settled', move };
    case 'unknown':
    case 'released':
    case 'settled':
      return undefined;
  }
}
