/**
 * The life of the agent's connection to the control plane, as a pure state machine.
 *
 *             ┌───────────────────────────── closed ──────────────────────────────┐
 *             ▼                                                                   │
 *   waiting ──due──→ connecting ──opened──→ greeting ──welcome──────→ admitted ───┤
 *      ▲                  │                    │                          ▲       │
 *      └──────────────────┴──── closed ────────┤                          │       │
 *                                              └─turned-away─→ turned-away ───────┘
 *
 * Invariants: one socket at a time; `hello` is the first frame on each; a wrong frame ends the
 * connection, never the agent; only being greeted resets the back-off, so that a control plane
 * that accepts and drops is not hammered. A host that was turned away keeps reporting, since its VMs
 * may still run, and asks again on a new connection after ASK_AGAIN_MS.
 *
 * The machine must not: read the clock, open sockets, log.
 */
import type { PoolSpec } from '../protocol/host-facts.ts';
import type { HostId } from '../protocol/ids.ts';
import type { ControlFrame, GuestAnswerFrame, RequestFrame } from '../protocol/messages.ts';
import type { StoreSpec } from '../protocol/store-spec.ts';

export const GREETING_LIMIT_MS = 15_000;
export const ASK_AGAIN_MS = 5 * 60_000;

export type LinkState =
  | { readonly kind: 'waiting'; readonly attempt: number }
  | { readonly kind: 'connecting'; readonly attempt: number }
  | { readonly kind: 'greeting'; readonly attempt: number }
  | { readonly kind: 'admitted'; readonly hostId: HostId; readonly pool: PoolSpec }
  | { readonly kind: 'turned-away'; readonly why: string };

export type LinkEvent =
  | { readonly kind: 'due' }
  | { readonly kind: 'opened' }
  | { readonly kind: 'frame'; readonly frame: ControlFrame }
  | { readonly kind: 'malformed'; readonly what: string }
  | { readonly kind: 'closed' };

export type LinkEffect =
  | { readonly kind: 'connect' }
  /** Give a `due` event after the back-off of this attempt. */
  | { readonly kind: 'back-off'; readonly attempt: number }
  /** Give a `due` event after this time, unless the state has changed by then. */
  | { readonly kind: 'wake'; readonly afterMs: number }
  | { readonly kind: 'send-hello' }
  | { readonly kind: 'send-report' }
  | { readonly kind: 'close'; readonly code: number; readonly why: string }
  | { readonly kind: 'admit'; readonly pool: PoolSpec; readonly store: StoreSpec | undefined }
  | { readonly kind: 'serve'; readonly request: RequestFrame }
  | { readonly kind: 'settle-ask'; readonly answer: GuestAnswerFrame };

export type LinkStep =
  | {
      readonly kind: 'moved';
      readonly state: LinkState;
      readonly effects: readonly LinkEffect[];
    }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'refused'; readonly why: string };

/** WebSocket close codes (RFC 6455, 7.4.2: 4000–4999 are the application's). */
export const CLOSE_NORMAL = 1000;
export const CLOSE_MALFORMED_FRAME = 4400;
export const CLOSE_UNEXPECTED_FRAME = 4409;
export const CLOSE_TIMED_OUT = 4408;

/** Which states each state may become; `step` is tested against it. */
export const TRANSITIONS = {
  waiting: ['connecting'],
  connecting: ['greeting', 'waiting'],
  greeting: ['admitted', 'turned-away', 'greeting', 'waiting'],
  admitted: ['admitted', 'turned-away', 'waiting'],
  'turned-away': ['admitted', 'turned-away', 'waiting'],
} as const satisfies Record<LinkState['kind'], readonly LinkState['kind'][]>;

export const FIRST_STATE: LinkState = { kind: 'waiting', attempt: 0 };

export function step(state: LinkState, event: LinkEvent): LinkStep {
  switch (event.kind) {
    case 'due':
      return due(state);
    case 'opened':
      return opened(state);
    case 'frame':
      return frame(state, event.frame);
    case 'malformed':
      return close(state, CLOSE_MALFORMED_FRAME, event.what);
    case 'closed':
      return closed(state);
  }
}

function moved(state: LinkState, ...effects: LinkEffect[]): LinkStep {
  return { kind: 'moved', state, effects };
}

function due(state: LinkState): LinkStep {
  switch (state.kind) {
    case 'waiting':
      return moved({ kind: 'connecting', attempt: state.attempt }, { kind: 'connect' });
    case 'greeting':
      return close(state, CLOSE_TIMED_OUT, 'no welcome');
    case 'turned-away':
      return close(state, CLOSE_NORMAL, 'asking again');
    case 'connecting':
    case 'admitted':
      return { kind: 'ignored' };
  }
}

function opened(state: LinkState): LinkStep {
  if (state.kind !== 'connecting') return { kind: 'ignored' };
  return moved(
    { kind: 'greeting', attempt: state.attempt },
    { kind: 'send-hello' },
    { kind: 'wake', afterMs: GREETING_LIMIT_MS },
  );
}

function frame(state: LinkState, received: ControlFrame): LinkStep {
  if (state.kind === 'waiting' || state.kind === 'connecting') {
    return { kind: 'refused', why: `a ${received.type} frame without a connection` };
  }
  switch (received.type) {
    case 'welcome':
      return moved(
        { kind: 'admitted', hostId: received.hostId, pool: received.pool },
        { kind: 'admit', pool: received.pool, store: received.store },
        { kind: 'send-report' },
      );
    case 'turned-away':
      return moved(
        { kind: 'turned-away', why: received.why },
        { kind: 'send-report' },
        { kind: 'wake', afterMs: ASK_AGAIN_MS },
      );
    case 'request':
      if (state.kind === 'greeting') {
        return close(state, CLOSE_UNEXPECTED_FRAME, 'request before welcome');
      }
      return moved(state, { kind: 'serve', request: received });
    case 'guest-answer':
      if (state.kind === 'greeting') {
        return close(state, CLOSE_UNEXPECTED_FRAME, 'answer before welcome');
      }
      return moved(state, { kind: 'settle-ask', answer: received });
  }
}

function close(state: LinkState, code: number, why: string): LinkStep {
  if (state.kind === 'waiting' || state.kind === 'connecting') return { kind: 'ignored' };
  return moved(state, { kind: 'close', code, why });
}

function closed(state: LinkState): LinkStep {
  switch (state.kind) {
    case 'waiting':
      return { kind: 'ignored' };
    case 'connecting':
    case 'greeting':
      return backOff(state.attempt + 1);
    case 'admitted':
    case 'turned-away':
      return backOff(0);
  }
}

function backOff(attempt: number): LinkStep {
  return moved({ kind: 'waiting', attempt }, { kind: 'back-off', attempt });
}
