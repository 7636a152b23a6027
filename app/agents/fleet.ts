/**
 * The connected host-agents: runs the effects of host-connection.ts, one socket per host, and gives
 * the reconciler its `Fleet`.
 *
 * Invariants:
 * - A host's newer connection replaces its older one; frames of a replaced socket are not read.
 * - Requests that a disconnect leaves unanswered are rejected at once with HostAwayError.
 * - Only admitted hosts take requests, except those that end a VM: a host that no longer fits its
 *   pool is still emptied.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { type RawData, WebSocket } from 'ws';
import type { HostFacts, PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import {
  AgentFrame,
  type AgentOutcome,
  type AgentRequest,
  type ControlFrame,
  type GuestAskFrame,
  REQUEST_TIMEOUT_MS,
} from '../../host-agent/protocol/messages.ts';
import type { StoreSpec } from '../../host-agent/protocol/store-spec.ts';
import type { GuestDesk } from '../guests/ports.ts';
import type { Fleet, FleetHost } from '../reconciler/ports.ts';
import { type Admission, admit } from './admission.ts';
import type { EnrolmentStore } from './enrolment.ts';
import { GuestLines } from './guest-lines.ts';
import { HeardNotices } from './heard-notices.ts';
import { describeHost, type HostEvent, type HostState, stepHost } from './host-connection.ts';
import { hostAway, PendingRequests } from './pending-requests.ts';
import type { UnderlayDesk } from './underlay-desk.ts';

const TICK_MS = 5_000;
/** A host that is away longer is no longer shown; it comes back when it dials in. */
const AWAY_SHOWN_MS = 3_600_000;
const SEEN_EVERY_MS = 600_000;
const NORMAL_CLOSURE = 1000;
const PROTOCOL_ERROR = 1002;
const TRY_AGAIN_LATER = 1013;

interface Entry {
  readonly hostId: HostId;
  readonly hostname: string;
  readonly pending: PendingRequests;
  state: HostState;
  socket: WebSocket | undefined;
  seenMarkedAtMs: number;
}

export interface AgentFleetOptions {
  readonly enrolment: EnrolmentStore;
  readonly pool: () => PoolSpec;
  /** Told to admitted hosts; unset: chunks go nowhere. */
  readonly store?: StoreSpec | undefined;
  /** Answers what jobs ask; unset: they are told to ask again. */
  readonly guests?: GuestDesk | undefined;
  /** Unset: hosts are believed about where their tunnel packets come from. */
  readonly underlay?: Pick<UnderlayDesk, 'refusal'> | undefined;
  readonly now: () => number;
  readonly logger: Logger;
  /** Tests shorten it. */
  readonly requestTimeoutMs?: number;
  readonly tickMs?: number;
}

export class AgentFleet implements Fleet {
  readonly #entries = new Map<HostId, Entry>();
  readonly #listeners = new Set<() => void>();
  readonly #heard = new HeardNotices();
  readonly #guests: GuestLines;
  readonly #options: AgentFleetOptions;
  readonly #timer: NodeJS.Timeout;

  /** Starts with the hosts seen lately, all away, so that a restart does not forget them. */
  constructor(options: AgentFleetOptions) {
    this.#options = options;
    this.#guests = new GuestLines(options);
    const nowMs = options.now();
    for (const { hostId, hostname } of options.enrolment.hostsSeenSince(nowMs - AWAY_SHOWN_MS)) {
      this.#entries.set(hostId, newEntry({ hostId, hostname, nowMs }));
    }
    this.#timer = setInterval(() => this.#tick(), options.tickMs ?? TICK_MS);
    this.#timer.unref();
  }

  hosts(): readonly FleetHost[] {
    return [...this.#entries].map(([id, entry]) =>
      this.#heard.addTo(describeHost(id, entry.hostname, entry.state)),
    );
  }

  /** What the cloud says of a host elsewhere. Whoever hears it first counts. */
  hear(hostname: string, notice: HostNotice): void {
    if (!this.#heard.note(hostname, notice)) return;
    this.#options.logger.info(
      { hostname, notice },
      'a notice was heard elsewhere than on its host',
    );
    this.#notify();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async request(
    hostId: HostId,
    request: AgentRequest,
    signal?: AbortSignal,
  ): Promise<AgentOutcome> {
    const entry = this.#entries.get(hostId);
    const socket = entry?.socket;
    if (entry === undefined || socket === undefined) throw hostAway(hostId, 'its agent is away');
    if (!mayAsk(entry.state, request)) throw hostAway(hostId, 'it is in no pool');
    const requestId = randomUUID();
    return await entry.pending.run({
      requestId,
      timeoutMs: this.#options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      signal,
      send: () => send(socket, { type: 'request', requestId, request }),
    });
  }

  /** Takes over an authenticated connection; an older one of the same host is closed. */
  attach(host: { readonly hostId: HostId; readonly hostname: string }, socket: WebSocket): void {
    const nowMs = this.#options.now();
    const entry = this.#entries.get(host.hostId) ?? newEntry({ ...host, nowMs });
    this.#entries.set(host.hostId, entry);
    const older = entry.socket;
    entry.pending.rejectAll('its agent dialled again');
    entry.socket = socket;
    older?.close(NORMAL_CLOSURE, 'replaced by a newer connection');
    this.#apply(entry, { kind: 'attached', nowMs });
    this.#listen(entry, socket);
  }

  /** Closes the host's connection; its agent may dial again if its certificate still holds. */
  disconnect(hostId: HostId, why: string): void {
    this.#entries.get(hostId)?.socket?.close(NORMAL_CLOSURE, why);
  }

  /** Ends the host's connection and forgets it: its certificate was revoked. */
  expel(hostId: HostId): void {
    this.disconnect(hostId, 'revoked');
    this.#entries.get(hostId)?.pending.rejectAll('it was revoked');
    this.#entries.delete(hostId);
    this.#notify();
  }

  /** For when another process takes the lease: agents dial again and find it. */
  disconnectAll(why: string): void {
    for (const { socket } of this.#entries.values()) socket?.close(TRY_AGAIN_LATER, why);
  }

  /** Final. Nothing of the store is touched after this. */
  close(): void {
    clearInterval(this.#timer);
    for (const entry of this.#entries.values()) {
      const { socket } = entry;
      if (socket === undefined) continue;
      this.#markSeen(entry);
      entry.socket = undefined;
      entry.pending.rejectAll('the control plane stops');
      socket.terminate();
    }
  }

  #listen(entry: Entry, socket: WebSocket): void {
    const log = this.#options.logger.child({ hostId: entry.hostId });
    const nowMs = (): number => this.#options.now();
    const isCurrent = (): boolean => entry.socket === socket;
    socket.on('message', (data, isBinary) => {
      if (isCurrent()) this.#read(entry, { data, isBinary });
    });
    socket.on('pong', () => {
      if (isCurrent()) this.#apply(entry, { kind: 'heard', nowMs: nowMs() });
    });
    socket.on('error', (error) => log.warn({ err: error }, 'agent connection broke'));
    socket.on('close', (code) => {
      if (!isCurrent()) return;
      entry.socket = undefined;
      entry.pending.rejectAll('its connection closed');
      log.info({ code }, 'agent disconnected');
      this.#markSeen(entry);
      this.#apply(entry, { kind: 'detached', nowMs: nowMs() });
    });
  }

  #read(entry: Entry, message: { readonly data: RawData; readonly isBinary: boolean }): void {
    const frame = parseFrame(message.data, message.isBinary);
    if (frame === undefined) {
      this.#refuse(entry, 'a frame could not be understood');
      return;
    }
    const nowMs = this.#options.now();
    switch (frame.type) {
      case 'hello': {
        const admission = this.#admit(entry.hostId, frame.facts);
        this.#apply(entry, { kind: 'hello', hello: frame, admission, nowMs });
        return;
      }
      case 'report':
        this.#apply(entry, { kind: 'report', report: frame, nowMs });
        return;
      case 'result':
        entry.pending.settle(frame.requestId, frame.outcome);
        this.#apply(entry, { kind: 'heard', nowMs });
        return;
      case 'guest-ask':
        void this.#answerGuest(entry, frame);
        return;
    }
  }

  async #answerGuest(entry: Entry, asked: GuestAskFrame): Promise<void> {
    const { socket, hostId, state } = entry;
    if (socket === undefined || state.kind !== 'connected') return;
    const cpuModel = state.last.facts.cpu.modelName;
    const { askId, vmId, ask } = asked;
    const answer = await this.#guests.answer({ hostId, cpuModel, vmId, ask });
    send(socket, { type: 'guest-answer', askId, answer });
  }

  #apply(entry: Entry, event: HostEvent): void {
    const step = stepHost(entry.state, event);
    if (step.kind === 'refused') {
      this.#refuse(entry, step.why);
      return;
    }
    if (step.kind === 'ignored') return;
    const before = entry.state;
    entry.state = step.state;
    for (const effect of step.effects) this.#run(entry, effect);
    if (before.kind !== step.state.kind) {
      this.#options.logger.info(
        { hostId: entry.hostId, from: before.kind, to: step.state.kind },
        'host moved',
      );
    }
    if (event.kind !== 'heard') this.#notify();
  }

  #run(
    entry: Entry,
    effect: Extract<ReturnType<typeof stepHost>, { kind: 'moved' }>['effects'][number],
  ): void {
    const { socket } = entry;
    if (socket === undefined) return;
    switch (effect.kind) {
      case 'send-welcome':
        this.#markSeen(entry);
        send(socket, this.#welcome(entry.hostId, effect.pool));
        return;
      case 'send':
        this.#options.logger.warn(
          { hostId: entry.hostId, why: effect.frame.why },
          'host turned away',
        );
        send(socket, effect.frame);
        return;
      case 'close':
        this.#options.logger.warn({ hostId: entry.hostId, why: effect.why }, 'agent given up');
        entry.socket = undefined;
        entry.pending.rejectAll(effect.why);
        socket.terminate();
    }
  }

  #admit(hostId: HostId, facts: HostFacts): Admission {
    const why = this.#options.underlay?.refusal(hostId, facts.underlay);
    return why === undefined ? admit(facts, this.#options.pool()) : { kind: 'turned-away', why };
  }

  #welcome(hostId: HostId, pool: PoolSpec): ControlFrame {
    const { store } = this.#options;
    return { type: 'welcome', hostId, pool, ...(store === undefined ? {} : { store }) };
  }

  #refuse(entry: Entry, why: string): void {
    this.#options.logger.warn({ hostId: entry.hostId, why }, 'agent broke the protocol');
    entry.socket?.close(PROTOCOL_ERROR, why);
  }

  #tick(): void {
    const nowMs = this.#options.now();
    for (const [hostId, entry] of this.#entries) {
      const { state } = entry;
      if (state.kind === 'away' && nowMs - state.sinceMs > AWAY_SHOWN_MS) {
        this.#entries.delete(hostId);
        continue;
      }
      const facts = state.kind === 'away' ? undefined : state.last?.facts;
      const admission = facts === undefined ? undefined : this.#admit(hostId, facts);
      this.#apply(entry, { kind: 'tick', admission, nowMs });
      if (entry.socket?.readyState === WebSocket.OPEN) entry.socket.ping();
      if (entry.socket !== undefined && nowMs - entry.seenMarkedAtMs > SEEN_EVERY_MS) {
        this.#markSeen(entry);
      }
    }
  }

  #markSeen(entry: Entry): void {
    entry.seenMarkedAtMs = this.#options.now();
    this.#options.enrolment.markSeen(entry.hostId, entry.seenMarkedAtMs);
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

function newEntry(host: {
  readonly hostId: HostId;
  readonly hostname: string;
  readonly nowMs: number;
}): Entry {
  return {
    hostId: host.hostId,
    hostname: host.hostname,
    pending: new PendingRequests(host.hostId),
    state: { kind: 'away', sinceMs: host.nowMs, last: undefined },
    socket: undefined,
    seenMarkedAtMs: host.nowMs,
  };
}

/** What empties a host, takes back what it was asked for, or keeps the VMs that it still has on line. */
const ENDING: ReadonlySet<AgentRequest['kind']> = new Set([
  'stop-vm',
  'forget-vm',
  'abort-migration',
  'use-gateways',
]);

function mayAsk(state: HostState, request: AgentRequest): boolean {
  if (state.kind === 'connected') return true;
  const endsVm = ENDING.has(request.kind);
  return state.kind === 'turned-away' && endsVm;
}

function send(socket: WebSocket, frame: ControlFrame): void {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}

function parseFrame(data: RawData, isBinary: boolean): AgentFrame | undefined {
  if (isBinary || !Buffer.isBuffer(data)) return undefined;
  try {
    return AgentFrame.safeParse(JSON.parse(data.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}
