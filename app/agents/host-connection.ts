/**
 * One host as its connections show it. Pure: the fleet runs the effects.
 *
 *            attached              hello, admitted
 *   away ───────────→ greeting ─────────────────→ connected
 *    ↑                   │  hello, not admitted     ↑   │ pool changed and no longer fits
 *    │                   └────────────────→ turned-away ┘
 *    └── detached, silent too long ── from each of the three
 *
 * Invariants:
 * - What was last heard of the host (facts, newest report) stays while it is away.
 * - A report replaces another of the same boot only with a larger seq; reports of a boot that did
 *   not say hello on this connection cannot arrive.
 * - A host that has not said hello counts as away since it went away, not since it dialled.
 */
import type { HostFacts, PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import {
  type ControlFrame,
  type Hello,
  PROTOCOL_VERSION,
  type Report,
} from '../../host-agent/protocol/messages.ts';
import type { FleetHost } from '../reconciler/ports.ts';
import type { Admission } from './admission.ts';
import { onOurClock } from './host-clock.ts';

export const HELLO_LIMIT_MS = 10_000;
export const SILENCE_LIMIT_MS = 20_000;

interface LastHeard {
  readonly bootId: string;
  readonly facts: HostFacts;
  readonly report: Report | undefined;
}

export type HostState =
  | { readonly kind: 'away'; readonly sinceMs: number; readonly last: LastHeard | undefined }
  | {
      readonly kind: 'greeting';
      readonly sinceMs: number;
      readonly heardAtMs: number;
      readonly last: LastHeard | undefined;
    }
  | {
      readonly kind: 'connected';
      readonly sinceMs: number;
      readonly heardAtMs: number;
      readonly last: LastHeard;
      readonly pool: PoolSpec;
    }
  | {
      readonly kind: 'turned-away';
      readonly sinceMs: number;
      readonly heardAtMs: number;
      readonly last: LastHeard;
      readonly why: string;
    };

export type HostEvent =
  | { readonly kind: 'attached'; readonly nowMs: number }
  | { readonly kind: 'detached'; readonly nowMs: number }
  | {
      readonly kind: 'hello';
      readonly hello: Hello;
      readonly admission: Admission;
      readonly nowMs: number;
    }
  | { readonly kind: 'report'; readonly report: Report; readonly nowMs: number }
  /** Any sign of life that carries no news: a pong, a result. */
  | { readonly kind: 'heard'; readonly nowMs: number }
  | {
      readonly kind: 'tick';
      readonly admission: Admission | undefined;
      readonly nowMs: number;
    };

export type HostEffect =
  | { readonly kind: 'send-welcome'; readonly pool: PoolSpec }
  | { readonly kind: 'send'; readonly frame: Extract<ControlFrame, { type: 'turned-away' }> }
  | { readonly kind: 'close'; readonly why: string };

export type HostStep =
  | { readonly kind: 'moved'; readonly state: HostState; readonly effects: readonly HostEffect[] }
  | { readonly kind: 'ignored'; readonly why: string }
  /** The other side broke the protocol: the connection is closed with this reason. */
  | { readonly kind: 'refused'; readonly why: string };

type Connected = Exclude<HostState, { kind: 'away' }>;

export function stepHost(state: HostState, event: HostEvent): HostStep {
  if (event.kind === 'attached') return attach(state, event.nowMs);
  if (state.kind === 'away') return { kind: 'ignored', why: 'the host is away' };
  switch (event.kind) {
    case 'detached':
      return moved(away(state, event.nowMs));
    case 'hello':
      return greet(state, event);
    case 'report':
      return takeReport(state, event);
    case 'heard':
      return moved({ ...state, heardAtMs: event.nowMs });
    case 'tick':
      return tick(state, event);
  }
}

/** What the rest of the control plane sees of the host. */
export function describeHost(hostId: HostId, hostname: string, state: HostState): FleetHost {
  return {
    id: hostId,
    hostname,
    state: state.kind === 'greeting' ? 'away' : state.kind,
    turnedAwayWhy: state.kind === 'turned-away' ? state.why : undefined,
    facts: state.last?.facts,
    report: state.last?.report,
    stateSinceMs: state.sinceMs,
  };
}

function attach(state: HostState, nowMs: number): HostStep {
  // A second connection takes the first one's place: the host cannot be lost in between.
  const sinceMs = state.kind === 'away' || state.kind === 'greeting' ? state.sinceMs : nowMs;
  return moved({ kind: 'greeting', sinceMs, heardAtMs: nowMs, last: state.last });
}

function away(state: Connected, nowMs: number): HostState {
  const sinceMs = state.kind === 'greeting' ? state.sinceMs : nowMs;
  return { kind: 'away', sinceMs, last: state.last };
}

function greet(state: Connected, event: Extract<HostEvent, { kind: 'hello' }>): HostStep {
  const { hello, admission, nowMs } = event;
  if (state.kind !== 'greeting') return { kind: 'refused', why: 'hello was said twice' };
  const kept = state.last?.bootId === hello.bootId ? state.last.report : undefined;
  const last: LastHeard = { bootId: hello.bootId, facts: hello.facts, report: kept };
  return settle({ last, heardAtMs: nowMs, sinceMs: nowMs }, judgeProtocol(hello, admission));
}

function judgeProtocol(hello: Hello, admission: Admission): Admission {
  if (hello.protocol === PROTOCOL_VERSION) return admission;
  const why =
    `This host-agent (${hello.agentVersion}) speaks protocol ${hello.protocol} and the control ` +
    `plane speaks ${PROTOCOL_VERSION}. Install the same version of Architect on both.`;
  return { kind: 'turned-away', why };
}

function settle(
  base: { readonly last: LastHeard; readonly heardAtMs: number; readonly sinceMs: number },
  admission: Admission,
): HostStep {
  if (admission.kind === 'admitted') {
    const { pool } = admission;
    return moved({ kind: 'connected', ...base, pool }, [{ kind: 'send-welcome', pool }]);
  }
  const { why } = admission;
  const frame = { type: 'turned-away', why } as const;
  return moved({ kind: 'turned-away', ...base, why }, [{ kind: 'send', frame }]);
}

function takeReport(state: Connected, event: Extract<HostEvent, { kind: 'report' }>): HostStep {
  if (state.kind === 'greeting') return { kind: 'refused', why: 'a report came before hello' };
  const { report, nowMs } = event;
  const known = state.last.report?.seq ?? 0;
  if (report.seq <= known) return { kind: 'ignored', why: `report ${report.seq} is not newer` };
  const read = { ...report, notice: onOurClock(report, nowMs) };
  return moved({ ...state, heardAtMs: nowMs, last: { ...state.last, report: read } });
}

function tick(state: Connected, event: Extract<HostEvent, { kind: 'tick' }>): HostStep {
  const limitMs = state.kind === 'greeting' ? HELLO_LIMIT_MS : SILENCE_LIMIT_MS;
  const { admission, nowMs } = event;
  if (nowMs - state.heardAtMs > limitMs) {
    const why = `nothing was heard for ${limitMs} ms`;
    return moved(away(state, nowMs), [{ kind: 'close', why }]);
  }
  if (state.kind === 'greeting' || admission === undefined || isSame(state, admission)) {
    return { kind: 'ignored', why: 'nothing changed' };
  }
  const sinceMs = admission.kind === state.kind ? state.sinceMs : nowMs;
  return settle({ last: state.last, heardAtMs: state.heardAtMs, sinceMs }, admission);
}

function isSame(state: Connected, admission: Admission): boolean {
  if (state.kind === 'turned-away') {
    return admission.kind === 'turned-away' && admission.why === state.why;
  }
  if (state.kind !== 'connected' || admission.kind !== 'admitted') return false;
  return JSON.stringify(admission.pool) === JSON.stringify(state.pool);
}

function moved(state: HostState, effects: readonly HostEffect[] = []): HostStep {
  return { kind: 'moved', state, effects };
}
