/**
 * The connected gateways, one socket each. Each is told whole pictures; one that it has already is not
 * sent again on the same connection.
 *
 *   attached ──hello──→ connected ──picture n──→ ──served n──→ …      silence, close ──→ away
 */
import { once } from 'node:events';
import type { Logger } from 'pino';
import { WebSocket } from 'ws';
import {
  type ActiveWord,
  type ControlFrame,
  GATEWAY_PROTOCOL_VERSION,
  GatewayFrame,
  type GatewayHello,
  MAX_VMS_PER_GATEWAY,
  type VmTraffic,
} from '../../host-agent/protocol/gateway-messages.ts';
import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import type { FlipEndpoint } from '../../host-agent/protocol/migration-messages.ts';
import type { Gateway, GatewayPicture, GatewayPort } from '../gateways/ports.ts';
import type { EnrolmentStore } from './enrolment.ts';
import type { UnderlayDesk } from './underlay-desk.ts';

const TICK_MS = 5_000;
/** A gateway that is away longer is no longer shown. */
const AWAY_SHOWN_MS = 3_600_000;
/** Questions to one gateway that it has not answered. */
const MAX_ASKED = 64;
const NORMAL_CLOSURE = 1000;
const PROTOCOL_ERROR = 1002;
const TRY_AGAIN_LATER = 1013;

interface Entry {
  readonly id: HostId;
  readonly hostname: string;
  sinceMs: number;
  socket: WebSocket | undefined;
  hello: GatewayHello | undefined;
  /** Of this connection. */
  sent: { readonly number: number; readonly text: string };
  served: number;
  vms: number;
  hears: ActiveWord | undefined;
  isAlive: boolean;
  readonly waiting: Set<() => void>;
  /** What it was asked for, by number. */
  readonly asked: Map<number, (traffic: VmTraffic | 'uncounted' | 'away') => void>;
}

export interface GatewayFleetOptions {
  readonly enrolment: Pick<EnrolmentStore, 'hostsSeenSince' | 'markSeen'>;
  /** Unset: gateways are believed about where their tunnel packets come from. */
  readonly underlay?: Pick<UnderlayDesk, 'refusal'> | undefined;
  readonly now: () => number;
  readonly logger: Logger;
}

export class GatewayFleet implements GatewayPort {
  readonly #options: GatewayFleetOptions;
  readonly #entries = new Map<HostId, Entry>();
  readonly #listeners = new Set<() => void>();
  #asks = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(options: GatewayFleetOptions) {
    this.#options = options;
    const nowMs = options.now();
    const seen = options.enrolment.hostsSeenSince(nowMs - AWAY_SHOWN_MS, 'gateway');
    for (const { hostId, hostname } of seen)
      this.#entries.set(hostId, newEntry({ hostId, hostname, nowMs }));
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  gateways(): readonly Gateway[] {
    return [...this.#entries.values()].map(({ id, hostname, hello, vms, hears, sinceMs }) => {
      const state = hello === undefined ? ('away' as const) : ('connected' as const);
      const { underlay, flipPort, publicAddress, ipv6 } = hello ?? {};
      const floating = hello?.floating ?? undefined;
      const said = { underlay, flipPort, publicAddress, ipv6, floating, hears, vms };
      return { id, hostname, state, ...said, stateSinceMs: sinceMs };
    });
  }

  flipAt(id: HostId): FlipEndpoint | undefined {
    const hello = this.#entries.get(id)?.hello;
    return hello && { gatewayId: id, host: hello.underlay, port: hello.flipPort };
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  serve(id: HostId, { role, vms }: GatewayPicture): number | undefined {
    const entry = this.#entries.get(id);
    if (entry?.hello === undefined || entry.socket === undefined) return undefined;
    if (vms.length > MAX_VMS_PER_GATEWAY)
      this.#options.logger.error(
        { gatewayId: id, vms: vms.length },
        'more VMs than a gateway takes',
      );
    const taken = vms.slice(0, MAX_VMS_PER_GATEWAY);
    const text = JSON.stringify({ role, vms: taken });
    if (text === entry.sent.text) return entry.sent.number;
    const number = entry.sent.number + 1;
    entry.sent = { number, text };
    const frame: ControlFrame = { type: 'serve', number, role, vms: taken };
    entry.socket.send(JSON.stringify(frame));
    return number;
  }

  async served(id: HostId, number: number, limitMs: number): Promise<boolean> {
    const entry = this.#entries.get(id);
    const limit = performance.now() + limitMs;
    while (entry?.hello !== undefined && entry.served < number) {
      const leftMs = limit - performance.now();
      if (leftMs <= 0) return false;
      const news = Promise.withResolvers<void>();
      const timer = setTimeout(news.resolve, leftMs);
      entry.waiting.add(news.resolve);
      await news.promise;
      clearTimeout(timer);
      entry.waiting.delete(news.resolve);
    }
    return entry?.hello !== undefined;
  }

  async answers(id: HostId, limitMs: number): Promise<boolean> {
    const socket = this.#entries.get(id)?.socket;
    if (socket?.readyState !== WebSocket.OPEN) return false;
    const limit = AbortSignal.timeout(limitMs);
    const pong = once(socket, 'pong', { signal: limit });
    socket.ping();
    return await pong.then(
      () => true,
      () => false,
    );
  }

  async traffic(
    id: HostId,
    vmId: VmId,
    limitMs: number,
  ): Promise<VmTraffic | 'uncounted' | 'away'> {
    const entry = this.#entries.get(id);
    if (entry?.hello === undefined || entry.socket === undefined) return 'away';
    if (entry.asked.size >= MAX_ASKED) return 'away';
    this.#asks += 1;
    const frame: ControlFrame = { type: 'ask-traffic', ask: this.#asks, vmId };
    const { ask } = frame;
    const answer = Promise.withResolvers<VmTraffic | 'uncounted' | 'away'>();
    const timer = setTimeout(() => answer.resolve('away'), limitMs);
    entry.asked.set(ask, answer.resolve);
    entry.socket.send(JSON.stringify(frame));
    const traffic = await answer.promise;
    clearTimeout(timer);
    entry.asked.delete(ask);
    return traffic;
  }

  /** Takes over an authenticated connection; an older one of the same gateway is closed. */
  attach(host: { readonly hostId: HostId; readonly hostname: string }, socket: WebSocket): void {
    const nowMs = this.#options.now();
    const entry = this.#entries.get(host.hostId) ?? newEntry({ ...host, nowMs });
    this.#entries.set(host.hostId, entry);
    const older = entry.socket;
    this.#forget(entry);
    older?.close(NORMAL_CLOSURE, 'replaced by a newer connection');
    entry.socket = socket;
    entry.isAlive = true;
    const isCurrent = () => entry.socket === socket;
    socket.on('message', (data, isBinary) => {
      if (isCurrent()) this.#hear(entry, socket, isBinary ? '' : String(data));
    });
    socket.on('pong', () => {
      entry.isAlive = true;
    });
    socket.on('error', (err) => this.#options.logger.warn({ err }, 'gateway connection broke'));
    socket.on('close', () => {
      if (!isCurrent()) return;
      this.#forget(entry);
      this.#notify();
    });
  }

  expel(id: HostId): void {
    this.#entries.get(id)?.socket?.close(NORMAL_CLOSURE, 'revoked');
    this.#entries.delete(id);
    this.#notify();
  }

  disconnectAll(why: string): void {
    for (const { socket } of this.#entries.values()) socket?.close(TRY_AGAIN_LATER, why);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const entry of this.#entries.values()) {
      const { socket } = entry;
      this.#forget(entry);
      socket?.terminate();
    }
  }

  #hear(entry: Entry, socket: WebSocket, text: string): void {
    const { logger, now, enrolment, underlay } = this.#options;
    const parsed = GatewayFrame.safeParse(parseJson(text));
    if (!parsed.success) {
      socket.close(PROTOCOL_ERROR, 'a frame could not be understood');
      return;
    }
    const frame = parsed.data;
    entry.isAlive = true;
    if (frame.type === 'hello') {
      if (frame.protocol !== GATEWAY_PROTOCOL_VERSION) {
        socket.close(PROTOCOL_ERROR, 'install the same version of Architect on both');
        return;
      }
      const why = underlay?.refusal(entry.id, frame.underlay);
      if (why !== undefined) {
        logger.error({ gatewayId: entry.id, why }, 'gateway turned away');
        socket.close(PROTOCOL_ERROR, why);
        return;
      }
      entry.hello = frame;
      entry.sinceMs = now();
      enrolment.markSeen(entry.id, entry.sinceMs);
      logger.info({ gatewayId: entry.id, underlay: frame.underlay }, 'gateway connected');
    } else if (frame.type === 'served') {
      entry.served = Math.max(entry.served, frame.number);
      for (const one of frame.refused)
        logger.error({ gatewayId: entry.id, ...one }, 'a gateway does not serve a VM');
      for (const tell of [...entry.waiting]) tell();
      return;
    } else if (frame.type === 'traffic') {
      entry.asked.get(frame.ask)?.(frame.traffic ?? 'uncounted');
      return;
    } else if (frame.type === 'held') entry.vms = frame.vms;
    else entry.hears = frame.word;
    this.#notify();
  }

  /** It is away: what it has been told on this connection counts no more. */
  #forget(entry: Entry): void {
    if (entry.hello !== undefined) entry.sinceMs = this.#options.now();
    entry.socket = undefined;
    entry.hello = undefined;
    entry.sent = NOTHING_SENT;
    entry.hears = undefined;
    entry.served = 0;
    for (const tell of [...entry.waiting]) tell();
    for (const tell of [...entry.asked.values()]) tell('away');
  }

  #tick(): void {
    for (const [id, entry] of this.#entries) {
      const { socket } = entry;
      if (socket === undefined) {
        if (this.#options.now() - entry.sinceMs > AWAY_SHOWN_MS) this.#entries.delete(id);
      } else if (!entry.isAlive) socket.terminate();
      else if (socket.readyState === WebSocket.OPEN) {
        entry.isAlive = false;
        socket.ping();
        this.#options.enrolment.markSeen(id, this.#options.now());
      }
    }
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

const NOTHING_SENT = { number: 0, text: '' };

function newEntry(host: {
  readonly hostId: HostId;
  readonly hostname: string;
  readonly nowMs: number;
}): Entry {
  const { hostId: id, hostname, nowMs: sinceMs } = host;
  const nobody = {
    socket: undefined,
    hello: undefined,
    sent: NOTHING_SENT,
    served: 0,
    vms: 0,
    hears: undefined,
  };
  return { id, hostname, sinceMs, ...nobody, isAlive: false, waiting: new Set(), asked: new Map() };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
