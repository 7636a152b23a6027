/** What a host answers when it is asked about a VM's token: its journal's word, and no more. */
import type { TokenWord } from '../protocol/token-messages.ts';
import type { SourceToken } from './source-token.ts';
import type { TargetToken } from './target-token.ts';

/** Undefined while the journal is being written or removed: then there is no word to give. */
export function wordOfSource(state: SourceToken): TokenWord | undefined {
  switch (state.kind) {
    case 'holding':
    case 'frozen':
      return { kind: 'holds', ...state.tenure };
    case 'given':
      return { kind: 'given', move: state.move, lease: state.lease };
    case 'ended':
      return { kind: 'ended', epoch: state.epoch };
    case 'rewriting':
    case 'giving':
    case 'taking-back':
    case 'released':
      return undefined;
  }
}

/** Undefined as above, and until it is known whether the guest was let run. */
export function wordOfTarget(state: TargetToken): TokenWord | undefined {
  switch (state.kind) {
    case 'reserved':
      return { kind: 'reserved', move: state.move, loaded: state.loaded };
    case 'received':
      return { kind: 'holds', ...state.tenure };
    case 'refused':
      return { kind: 'refused', move: state.move, why: state.why };
    case 'reserving':
    case 'receiving':
    case 'starting':
    case 'refusing':
    case 'dropped':
      return undefined;
  }
}
