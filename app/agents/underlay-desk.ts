/**
 * Tells each host and gateway what its tunnel packets travel on, and its peers there, as soon as those
 * change:
 *
 *   ask ─ key, endpoint ─▶ the book ─▶ answer          `known` is the answer: held until another is
 *   a node joins, changes its key, is revoked ────────▶ everybody who is held is answered
 *
 * A node's address is its own for as long as it is enrolled, and the only one that it is believed about
 * (`refusal`).
 */
import { createHash } from 'node:crypto';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import {
  UNDERLAY_WAIT_MS,
  type UnderlayAnswer,
  type UnderlayAsk,
  type UnderlayWord,
} from '../../host-agent/protocol/underlay.ts';
import type { EnrolledHost, EnrolmentStore } from './enrolment.ts';
import type { BookedNode, UnderlayBook } from './underlay-book.ts';
import { addressAt, chooseNumber, peersOf, type UnderlayNode } from './underlay-peers.ts';

const READ_AGAIN_MS = 5_000;

/** What the operator said; `undeclared`: nothing, of hosts that are elsewhere. */
export type UnderlayPolicy =
  | { readonly kind: 'private' | 'undeclared' }
  | { readonly kind: 'wireguard'; readonly port: number; readonly range: string };

export const WHY_UNDECLARED =
  'A gateway’s tunnel is not authenticated by itself, so somebody on the network between hosts could ' +
  'forge guests’ packets. Set network.underlay in architect.yaml (ARCHITECT_UNDERLAY): wireguard, or ' +
  'private where only your hosts and gateways can send on that network.';

export interface UnderlayParts {
  readonly policy: UnderlayPolicy;
  readonly book: Pick<UnderlayBook, 'nodes' | 'put' | 'remove'>;
  readonly enrolment: Pick<EnrolmentStore, 'hostsSeenSince'>;
  readonly now: () => number;
  /** Tests shorten it. */
  readonly waitMs?: number;
}

export class UnderlayDesk {
  readonly #parts: UnderlayParts;
  readonly #held = new Set<() => void>();
  #nodes: { readonly all: readonly UnderlayNode[]; readonly readAtMs: number } | undefined;

  constructor(parts: UnderlayParts) {
    this.#parts = parts;
  }

  /** False: nobody vouches for the network that their tunnels would run on. */
  get mayHaveGateways(): boolean {
    return this.#parts.policy.kind !== 'undeclared';
  }

  /** Undefined: the range has no address left. */
  async answer(
    node: Pick<EnrolledHost, 'hostId'>,
    ask: UnderlayAsk,
    gone: AbortSignal,
  ): Promise<UnderlayAnswer | undefined> {
    const { policy, waitMs = UNDERLAY_WAIT_MS } = this.#parts;
    if (policy.kind === 'wireguard' && !this.#note(node.hostId, ask)) return undefined;
    const first = answerOf(this.#word(node.hostId));
    if (first.version !== ask.known) return first;
    await this.#change(AbortSignal.any([gone, AbortSignal.timeout(waitMs)]));
    return answerOf(this.#word(node.hostId));
  }

  /** Somebody came, went or is another: whoever waits is answered. */
  changed(): void {
    this.#nodes = undefined;
    for (const tell of [...this.#held]) tell();
  }

  /** Why a node is not believed that its tunnel packets come from this address. */
  refusal(id: HostId, underlay: string | undefined): string | undefined {
    const { policy } = this.#parts;
    if (policy.kind !== 'wireguard') return undefined;
    const own = this.#read().find((node) => node.id === id);
    if (own !== undefined && addressAt(policy.range, own.number) === underlay) return undefined;
    return 'Its tunnel packets do not come from the address that it was given (network.underlay): restart its agent.';
  }

  /** False: no address is left for it. */
  #note(id: HostId, { publicKey, endpoint }: UnderlayAsk): boolean {
    const { policy, book } = this.#parts;
    if (policy.kind !== 'wireguard') return true;
    const known = this.#read().find((node) => node.id === id);
    if (known?.publicKey === publicKey && known.endpoint === endpoint) return true;
    const nodes = this.#sweep(book.nodes(), id);
    const taken = nodes.map(({ number }) => number);
    const before = nodes.find((node) => node.id === id);
    const number = before?.number ?? chooseNumber(taken, policy.range);
    if (number === undefined) return false;
    book.put({ id, publicKey, endpoint, number });
    this.changed();
    return true;
  }

  /** Who was revoked keeps no number. */
  #sweep(nodes: readonly BookedNode[], asking: HostId): readonly BookedNode[] {
    const enrolled = this.#enrolled();
    const [kept, gone] = [true, false].map((isKept) =>
      nodes.filter(({ id }) => (id === asking || enrolled.has(id)) === isKept),
    );
    for (const { id } of gone ?? []) this.#parts.book.remove(id);
    return kept ?? [];
  }

  #word(id: HostId): UnderlayWord {
    const { policy } = this.#parts;
    if (policy.kind !== 'wireguard') return { kind: 'private' };
    const { port, range } = policy;
    const nodes = this.#read();
    const number = nodes.find((node) => node.id === id)?.number ?? 0;
    const peers = [...peersOf(id, nodes, range)];
    return { kind: 'wireguard', address: addressAt(range, number), range, port, peers };
  }

  /** As of READ_AGAIN_MS ago at most: another process may have revoked somebody. */
  #read(): readonly UnderlayNode[] {
    const nowMs = this.#parts.now();
    if (this.#nodes !== undefined && Math.abs(nowMs - this.#nodes.readAtMs) < READ_AGAIN_MS)
      return this.#nodes.all;
    const enrolled = this.#enrolled();
    const all = this.#parts.book.nodes().flatMap((node): readonly UnderlayNode[] => {
      const { role, seenAtMs } = enrolled.get(node.id) ?? {};
      return role === undefined || seenAtMs === undefined ? [] : [{ ...node, role, seenAtMs }];
    });
    this.#nodes = { all, readAtMs: nowMs };
    return all;
  }

  #enrolled(): ReadonlyMap<HostId, EnrolledHost> {
    const { enrolment } = this.#parts;
    const all = [...enrolment.hostsSeenSince(0), ...enrolment.hostsSeenSince(0, 'gateway')];
    return new Map(all.map((host) => [host.hostId, host]));
  }

  async #change(limit: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.add(resolve);
    limit.addEventListener('abort', () => resolve(), { once: true });
    if (limit.aborted) resolve();
    await promise;
    this.#held.delete(resolve);
  }
}

function answerOf(word: UnderlayWord): UnderlayAnswer {
  const version = createHash('sha256').update(JSON.stringify(word)).digest('hex');
  return { version, word };
}
