/**
 * What a gateway is at the moment, as the control plane says with each picture:
 *
 *   acting    the floating address is here │ standbys may follow its flows
 *   standby   the address is not here      │ it follows the acting one and says whether it hears it
 *
 * Before the first picture it is what the kernel shows: nothing is put on or taken off. A gateway
 * without a floating address acts always. Changes are made one after another; following has ended
 * before the address is taken, so that no older word overwrites a flow of its own.
 */
import type { Writable } from 'node:stream';
import type { Logger } from 'pino';
import type { PeerIdentity } from '../migration/peer/peer-tls.ts';
import { type FloatingAddress, giveUpAddress, takeAddress } from '../net/floating-address.ts';
import type { FlowTable } from '../net/switch-backend.ts';
import type { ActiveWord, GatewayFrame, GatewayRole } from '../protocol/gateway-messages.ts';
import type { HostId } from '../protocol/ids.ts';
import { feedFlows } from './flow-feed.ts';
import { followFlows } from './flow-follower.ts';

export interface StationParts {
  readonly floating: FloatingAddress | undefined;
  readonly table: FlowTable | undefined;
  readonly identity: PeerIdentity;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class Station {
  readonly #parts: StationParts;
  #role: GatewayRole | undefined;
  #change: Promise<unknown> = Promise.resolve();
  #ending = new AbortController();
  #following: Promise<void> = Promise.resolve();
  #word: ActiveWord | undefined;
  #tell: ((frame: GatewayFrame) => void) | undefined;

  constructor(parts: StationParts) {
    this.#parts = parts;
    parts.signal.addEventListener('abort', () => this.#ending.abort());
  }

  /** The control plane is there: it is told what is heard now, and each change. */
  speakTo(tell: (frame: GatewayFrame) => void): void {
    this.#tell = tell;
    if (this.#word !== undefined) tell({ type: 'active', word: this.#word });
  }

  /** Resolves when this gateway is that. Rejects with NetworkCommandError; the next word tries again. */
  become(role: GatewayRole): Promise<void> {
    const change = this.#change.then(() => this.#become(role));
    this.#change = change.catch(() => undefined);
    return change;
  }

  /** Undefined: whoever asks does not stand by for this gateway. */
  feed(asking: HostId) {
    const role = this.#role;
    if (role?.kind !== 'acting' || !role.standbys.includes(asking)) return undefined;
    const { table } = this.#parts;
    const ending = this.#ending.signal;
    return (out: Writable, gone: AbortSignal) =>
      feedFlows(out, { table, signal: AbortSignal.any([gone, ending]) });
  }

  async #become(role: GatewayRole): Promise<void> {
    const { floating, logger, signal } = this.#parts;
    if (floating === undefined || signal.aborted) return;
    const before = this.#role;
    if (JSON.stringify(role) === JSON.stringify(before)) return;
    if (before?.kind === role.kind && role.kind === 'acting') {
      this.#role = role;
      return;
    }
    this.#ending.abort();
    await this.#following;
    this.#ending = new AbortController();
    this.#word = undefined;
    if (role.kind === 'acting')
      await takeAddress(floating, { logger, signal: this.#ending.signal });
    else await giveUpAddress(floating);
    this.#role = role;
    logger.info({ role: role.kind, address: floating.address }, 'this gateway');
    if (role.kind === 'standby') this.#follow(role);
  }

  #follow({ follow: active }: Extract<GatewayRole, { kind: 'standby' }>): void {
    const { identity, table, logger } = this.#parts;
    const onWord = (word: ActiveWord) => {
      this.#word = word;
      this.#tell?.({ type: 'active', word });
    };
    const { signal } = this.#ending;
    this.#following = followFlows({ active, identity, table, onWord, logger, signal });
  }
}
