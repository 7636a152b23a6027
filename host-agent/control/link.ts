/**
 * The effects of the connection to the control plane; what to do when is link-state.ts. One link
 * lives as long as the agent and owns at most one socket.
 *
 * Reports are whole pictures: a change asks for one, changes close together share one, and one that
 * does not fit through the socket now is dropped for a later one. Results are never dropped while
 * the connection stands; after it, the control plane asks again and the request is idempotent.
 * Nothing that the control plane sends or fails to send ends the agent.
 */
import type { Logger } from 'pino';
import { WebSocket } from 'ws';
import { askAgain, type GuestAnswer, type GuestAsk } from '../protocol/guest-api.ts';
import type { PoolSpec } from '../protocol/host-facts.ts';
import type { VmId } from '../protocol/ids.ts';
import {
  type AgentFrame,
  type AgentOutcome,
  type AgentRequest,
  type Hello,
  MAX_FRAME_BYTES,
  REPORT_INTERVAL_MS,
  type Report,
  type RequestFrame,
} from '../protocol/messages.ts';
import type { StoreSpec } from '../protocol/store-spec.ts';
import { backOffMs } from './back-off.ts';
import { encodeAgentFrame, parseControlFrame } from './frames.ts';
import { keepAlive } from './heartbeat.ts';
import type { Identity } from './identity.ts';
import {
  CLOSE_NORMAL,
  FIRST_STATE,
  type LinkEffect,
  type LinkEvent,
  type LinkState,
  step,
} from './link-state.ts';
import { PendingAsks } from './pending-asks.ts';
import { tlsOf } from './tls.ts';

const HANDSHAKE_LIMIT_MS = 10_000;
const CLOSE_LIMIT_MS = 2_000;
/** While the control plane is away, one attempt in this many is worth a warning. */
const WARN_EVERY = 10;
/** Changes within this time share a report. */
const REPORT_GAP_MS = 20;
const MAX_SERVING = 200;
const MAX_UNSENT_BYTES = 4 * MAX_FRAME_BYTES;
const WHY_LIMIT = 500;

export interface LinkParts {
  readonly identity: Identity;
  readonly hello: Hello;
  /** The picture now, without its number and time. */
  readonly picture: () => Omit<Report, 'type' | 'seq' | 'sentAtMs'>;
  readonly serve: (request: AgentRequest) => Promise<AgentOutcome>;
  /** Called at each welcome; the pool may differ from the one before. */
  readonly onAdmitted: (pool: PoolSpec, store: StoreSpec | undefined) => void;
  /** Called when the connection has changed its state, not at each frame. */
  readonly onState: (state: LinkState) => void;
  readonly nowMs: () => number;
  readonly logger: Logger;
}

export class ControlLink {
  readonly #parts: LinkParts;
  readonly #logger: Logger;
  #state: LinkState = FIRST_STATE;
  #socket: WebSocket | undefined;
  #wake: NodeJS.Timeout | undefined;
  #reporting: NodeJS.Timeout | undefined;
  #regular: NodeJS.Timeout | undefined;
  #seq = 0;
  #serving = 0;
  #ended = false;
  readonly #asks = new PendingAsks((frame) => this.#send(frame));

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#logger = parts.logger;
  }

  /** Connects, and keeps connecting until `end`. */
  start(): void {
    this.#regular = setInterval(() => this.changed(), REPORT_INTERVAL_MS);
    this.#take({ kind: 'due' });
  }

  /** Something in the picture changed: a report follows soon, if there is a connection. */
  changed(): void {
    if (this.#ended || this.#reporting !== undefined) return;
    this.#reporting = setTimeout(() => {
      this.#reporting = undefined;
      this.#report();
    }, REPORT_GAP_MS);
  }

  /** A guest's question to the control plane. Never rejects; without an answer: ask again. */
  async ask(vmId: VmId, ask: GuestAsk): Promise<GuestAnswer> {
    if (this.#state.kind !== 'admitted') return askAgain('The control plane is away.');
    return await this.#asks.ask(vmId, ask);
  }

  /** Closes the connection and stops every timer. Final. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#wake);
    clearTimeout(this.#reporting);
    clearInterval(this.#regular);
    this.#asks.giveUp('This host’s agent ends.');
    this.#close(CLOSE_NORMAL, 'agent ends');
  }

  #take(event: LinkEvent): void {
    if (this.#ended) return;
    const next = step(this.#state, event);
    if (next.kind === 'refused')
      this.#logger.warn({ why: next.why }, 'control plane event refused');
    if (next.kind !== 'moved') return;
    const before = this.#state;
    this.#state = next.state;
    if (next.state.kind !== before.kind) this.#tell(next.state);
    for (const effect of next.effects) this.#perform(effect);
  }

  #perform(effect: LinkEffect): void {
    switch (effect.kind) {
      case 'connect':
        this.#connect();
        break;
      case 'back-off':
        this.#wakeAfter(backOffMs(effect.attempt, Math.random()));
        break;
      case 'wake':
        this.#wakeAfter(effect.afterMs);
        break;
      case 'send-hello':
        this.#send(this.#parts.hello);
        break;
      case 'send-report':
        this.#report();
        break;
      case 'close':
        this.#close(effect.code, effect.why);
        break;
      case 'admit':
        this.#parts.onAdmitted(effect.pool, effect.store);
        break;
      case 'serve':
        void this.#serve(effect.request);
        break;
      case 'settle-ask':
        this.#asks.settle(effect.answer);
        break;
      default:
        effect satisfies never;
    }
  }

  #close(code: number, why: string): void {
    const socket = this.#socket;
    this.#logger.warn({ code, why }, 'closing the connection');
    socket?.close(code, why);
    setTimeout(() => socket?.terminate(), CLOSE_LIMIT_MS).unref();
  }

  #wakeAfter(afterMs: number): void {
    clearTimeout(this.#wake);
    const before = this.#state;
    this.#wake = setTimeout(() => {
      if (this.#state.kind === before.kind) this.#take({ kind: 'due' });
    }, afterMs);
  }

  #connect(): void {
    const { identity } = this.#parts;
    const socket = new WebSocket(`${identity.url}/agent`, {
      ...tlsOf(identity),
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: HANDSHAKE_LIMIT_MS,
      perMessageDeflate: false,
      followRedirects: false,
    });
    this.#socket = socket;
    const stopHeartbeat = keepAlive(socket);
    socket.on('open', () => this.#take({ kind: 'opened' }));
    socket.on('message', (data, isBinary) => {
      const bytes = Buffer.isBuffer(data) ? data : Buffer.alloc(0);
      this.#take(parseControlFrame(bytes, isBinary));
    });
    socket.on('error', (error) => this.#logFailure(error));
    socket.on('close', (code, reason) => {
      stopHeartbeat();
      this.#logger.debug({ code, reason: reason.toString() }, 'connection closed');
      if (this.#socket !== socket) return;
      this.#asks.giveUp('The control plane went away.');
      this.#take({ kind: 'closed' });
    });
  }

  async #serve({ requestId, request }: RequestFrame): Promise<void> {
    const outcome = await this.#outcomeOf(request);
    this.#send({ type: 'result', requestId, outcome });
  }

  async #outcomeOf(request: AgentRequest): Promise<AgentOutcome> {
    if (this.#serving >= MAX_SERVING) {
      return { kind: 'refused', why: `This host is serving ${MAX_SERVING} requests already.` };
    }
    this.#serving += 1;
    try {
      return clip(await this.#parts.serve(request));
    } catch (error) {
      this.#logger.error({ request: request.kind, err: error }, 'request failed');
      const what = error instanceof Error ? error.message : 'unknown error';
      return clip({ kind: 'refused', why: `The host-agent failed: ${what}` });
    } finally {
      this.#serving -= 1;
    }
  }

  #report(): void {
    if (this.#state.kind !== 'admitted' && this.#state.kind !== 'turned-away') return;
    if ((this.#socket?.bufferedAmount ?? 0) > MAX_FRAME_BYTES) return;
    this.#seq += 1;
    const sentAtMs = this.#parts.nowMs();
    this.#send({ type: 'report', seq: this.#seq, sentAtMs, ...this.#parts.picture() });
  }

  #send(frame: AgentFrame): void {
    const socket = this.#socket;
    if (socket === undefined || socket.readyState !== WebSocket.OPEN) return;
    const text = encodeAgentFrame(frame);
    if (text === undefined) {
      this.#logger.error({ frame: frame.type }, 'frame larger than the protocol allows; not sent');
      return;
    }
    if (socket.bufferedAmount > MAX_UNSENT_BYTES) {
      socket.terminate();
      return;
    }
    socket.send(text, (error) => {
      if (error !== undefined) this.#logger.debug({ err: error }, 'frame not sent');
    });
  }

  #logFailure(error: Error): void {
    const attempt = 'attempt' in this.#state ? this.#state.attempt : 0;
    const level = attempt % WARN_EVERY === 0 ? 'warn' : 'debug';
    this.#logger[level]({ err: error, attempt }, 'connection to the control plane failed');
  }

  #tell(state: LinkState): void {
    const pool = state.kind === 'admitted' ? state.pool.id : undefined;
    const why = state.kind === 'turned-away' ? state.why : undefined;
    if (pool !== undefined) this.#logger.info({ pool }, 'admitted to the pool');
    else if (why !== undefined) this.#logger.warn({ why }, 'turned away by the control plane');
    else this.#logger.debug({ state: state.kind }, 'connection state');
    this.#parts.onState(state);
  }
}

function clip(outcome: AgentOutcome): AgentOutcome {
  if (outcome.kind === 'taken') return outcome;
  return { kind: 'refused', why: outcome.why.slice(0, WHY_LIMIT) };
}
