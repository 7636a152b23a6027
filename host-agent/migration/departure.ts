/**
 * A VM leaves this host: the source's sequence, in DESIGN's order.
 *
 *   dial, machine and layout told ─▶ rounds until what is left fits the budget ─▶ token frozen
 *   ─▶ the gateway flips ─▶ `stop` ─▶ last pages ∥ last clusters at `pre-switchover` ─▶ devices, end of stream ─▶ target is loaded
 *   ─▶ token given ─▶ the target has it: the VM is gone from here
 *
 * On success ('released') only the target may run the VM, and its QEMU here is stopped for good. On
 * failure before the token was given the guest runs on here, the target has been told, and the caller
 * tracks it anew; after it, what the token's machine decides happens, whatever becomes of this
 * sequence. The guest is stopped by QMP `stop` before anything that QEMU could end by itself, so that
 * no broken stream ever wakes it (FACTS).
 */
import type { Refused } from '../protocol/errors.ts';
import type { SendVm } from '../protocol/migration-messages.ts';
import type { PeerMove } from '../protocol/token-messages.ts';
import type { QmpClient } from '../vm/qmp/qmp-client.ts';
import { capDelayMs } from './cap-delay.ts';
import type { PeerIdentity } from './peer/peer-tls.ts';
import { markSwitchover } from './switchover-trace.ts';
import { thisThread } from './thread-priority.ts';
import { cancelHold, finishHeld } from './tracking/held-migration.ts';
import type { Json } from './worker/data-commands.ts';
import type { VmData } from './worker/vm-data.ts';

/**
 * What may be left when the guest is stopped: some milliseconds of a slow link, and no less than a
 * guest that does nothing writes between two rounds.
 */
export const BUDGET_BYTES = 1024 * 1024;
/** The last part of the time is for the switch-over, whatever is left then. */
const SWITCHOVER_RESERVE_MS = 3_000;
const LOADED_LIMIT_MS = 30_000;
const WHY_LIMIT = 500;

export interface DepartureToken {
  /** From now on the guest is not to run, until `give` is decided or `abort`. */
  freeze(move: PeerMove): Promise<Refused | undefined>;
  /** Settles when it is decided who has the VM. 'resumed': it runs here again, and only here. */
  give(): Promise<'released' | 'resumed'>;
  /** Runs the guest here again. Only before `give`. */
  abort(): Promise<void>;
}

export interface DepartureParts {
  readonly qmp: QmpClient;
  readonly data: VmData;
  /** What the guest wrote to its disk since the last pulse is in the image when it resolves. */
  readonly pulseDisk: () => Promise<void>;
  readonly diskBytes: number;
  readonly identity: PeerIdentity;
  readonly token: DepartureToken;
  /** What the target has to build, and what it goes on with. */
  readonly facts: Json;
  readonly onPhase: (phase: 'precopy' | 'switchover') => void;
  /** QEMU comes before the guests of others, from now on: this one is about to be stopped. */
  readonly hurry: () => Promise<void>;
  /** Packets go to the target from now on; they wait there. Undone by `flipBack`. Neither rejects. */
  readonly flip: () => Promise<void>;
  readonly flipBack: () => Promise<void>;
  readonly signal: AbortSignal;
}

export type DepartureOutcome =
  | {
      readonly kind: 'released';
      /** From before `stop` until the target said that it has the token and runs. */
      readonly blackoutMs: number;
    }
  /** It runs here. `wasStopped`: its tracking ended with the attempt. */
  | { readonly kind: 'stayed'; readonly why: string };

/** Never later than the move's deadline, and never rejects for what a move can meet; a guest that cannot be resumed rejects with a QMP error. */
export async function depart(move: SendVm, parts: DepartureParts): Promise<DepartureOutcome> {
  const loaded = whenLoaded(parts.data);
  const limit = limitOf(move, parts);
  let isFrozen = false;
  let stoppedAtMs = 0;
  try {
    limit.signal.throwIfAborted();
    await prepare(move, { ...parts, signal: limit.signal });
    thisThread.hurry();
    await Promise.all([parts.hurry(), freeze(move, parts.token)]);
    isFrozen = true;
    parts.onPhase('switchover');
    await parts.flip();
    stoppedAtMs = performance.now();
    markSwitchover('stop sent');
    await parts.qmp.run('stop');
    markSwitchover('guest stopped');
    limit.within(LOADED_LIMIT_MS, 'The target was not loaded in time.');
    await switchOver({ ...parts, signal: limit.signal }, loaded.promise);
    limit.signal.throwIfAborted();
  } catch (error) {
    const why = describe(limit.signal.aborted ? limit.signal.reason : error);
    await stay(why, { parts, isFrozen });
    return { kind: 'stayed', why };
  } finally {
    loaded.stop();
    limit.stop();
  }
  const decided = await parts.token.give();
  if (decided === 'resumed') {
    const why = 'The target refused the VM.';
    await parts.data.call('hangUp', { why }).catch(() => undefined);
    await parts.flipBack();
    return { kind: 'stayed', why };
  }
  return { kind: 'released', blackoutMs: performance.now() - stoppedAtMs };
}

interface Limit {
  readonly signal: AbortSignal;
  /** From now on this little time is left, if it is less. */
  readonly within: (ms: number, why: string) => void;
  readonly stop: () => void;
}

/** Whoever gives the move up, and the clock: the worker, which may be waiting, hears it at once. */
function limitOf({ deadlineMs }: SendVm, { data, signal }: DepartureParts): Limit {
  const timers: NodeJS.Timeout[] = [];
  const late = new AbortController();
  const within = (ms: number, why: string) => {
    timers.push(setTimeout(() => late.abort(new Error(why)), capDelayMs(ms)));
  };
  const leftMs = deadlineMs - Date.now();
  const why = 'The deadline of the move is over.';
  if (leftMs <= 0) late.abort(new Error(why));
  else within(leftMs, why);
  const either = AbortSignal.any([signal, late.signal]);
  const hangUp = () => {
    data.call('hangUp', { why: describe(either.reason) }).catch(() => undefined);
  };
  either.addEventListener('abort', hangUp);
  const stop = () => {
    either.removeEventListener('abort', hangUp);
    for (const timer of timers) clearTimeout(timer);
  };
  return { signal: either, within, stop };
}

function describe(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, WHY_LIMIT);
}

async function prepare(move: SendVm, parts: DepartureParts): Promise<void> {
  const { data, pulseDisk, identity, facts, diskBytes, signal } = parts;
  const { migrationId, vmId, credential, to: hostId, peer: endpoint } = move;
  const expected = { migrationId, vmId, credential, hostId };
  await data.call('dial', { identity, expected, endpoint, facts, diskBytes });
  parts.onPhase('precopy');
  const deadlineMs = move.deadlineMs - SWITCHOVER_RESERVE_MS;
  await pulseDisk();
  await data.call('converge', { budgetBytes: BUDGET_BYTES, deadlineMs });
  // What it wrote to its disk meanwhile, so that little of that is left for the blackout.
  await pulseDisk();
  await data.call('converge', { budgetBytes: BUDGET_BYTES, deadlineMs });
  signal.throwIfAborted();
}

async function freeze(move: SendVm, token: DepartureToken): Promise<void> {
  const { migrationId, epoch, to: hostId } = move;
  const denied = await token.freeze({ migrationId, epoch, hostId });
  if (denied !== undefined) throw new Error(denied.why);
}

/** Resolves when the target's QEMU has loaded the machine. */
async function switchOver(parts: DepartureParts, loaded: Promise<void>): Promise<void> {
  const { qmp, data, pulseDisk, signal } = parts;
  const held = finishHeld(qmp, { beforeContinue: pulseDisk, signal });
  const sent = data.call('finish');
  // The stream ends with the hold: either failing says why.
  await Promise.race([Promise.all([held, sent]), sent.then(() => loaded)]);
  await loaded;
  markSwitchover('source knows');
  held.catch(() => undefined);
}

/** The guest runs here again. Safe in every state before the token was given. */
async function stay(
  why: string,
  { parts, isFrozen }: { readonly parts: DepartureParts; readonly isFrozen: boolean },
): Promise<void> {
  const { data, qmp, token, flipBack } = parts;
  await data.call('hangUp', { why }).catch(() => undefined);
  await cancelHold(qmp).catch(() => undefined);
  if (!isFrozen) return;
  await flipBack();
  await token.abort();
}

function whenLoaded(data: VmData): { readonly promise: Promise<void>; readonly stop: () => void } {
  const loaded = Promise.withResolvers<void>();
  loaded.promise.catch(() => undefined);
  const stop = data.on((event) => {
    if (event.kind === 'loaded') loaded.resolve();
    if (event.kind === 'hung-up' && event.of === 'departure') loaded.reject(new Error(event.why));
  });
  return { promise: loaded.promise, stop };
}
