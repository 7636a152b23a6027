/**
 * What tunnel packets between hosts and gateways travel on, which the operator says in one setting:
 *
 *   POST {url}/underlay   client certificate, UnderlayAsk → 200 UnderlayAnswer
 *
 * An agent asks before it makes anything of its network, and then for as long as it lives: an ask
 * whose `known` is the answer that holds is kept until another does, UNDERLAY_WAIT_MS at most. So a
 * node that was taken out is nobody's peer a moment later. Answers are whole, never a delta.
 */
import { z } from 'zod';

export const UNDERLAY_WAIT_MS = 20_000;
/** A fleet's hosts and gateways; an answer of so many has some 700 kB. */
export const MAX_UNDERLAY_PEERS = 4_096;

/** X25519, as `wg` writes it. */
export const WireguardKey = z.base64().length(44);

export const UnderlayAsk = z.object({
  publicKey: WireguardKey,
  /** Where the asking node is reached on the network that it shares with the others. */
  endpoint: z.ipv4(),
  /** The `version` of the answer that it has. */
  known: z.string().max(64).nullable(),
});
export type UnderlayAsk = Readonly<z.infer<typeof UnderlayAsk>>;

export const UnderlayPeer = z.object({
  publicKey: WireguardKey,
  endpoint: z.ipv4(),
  /** On the tunnel: the one address that it may send from. */
  address: z.ipv4(),
  /** Kept alive while nothing is sent: one side of the two is a gateway. */
  keepAlive: z.boolean(),
});
export type UnderlayPeer = Readonly<z.infer<typeof UnderlayPeer>>;

export const UnderlayWord = z.discriminatedUnion('kind', [
  /** Tunnel packets go as they are. */
  z.object({ kind: z.literal('private') }),
  z.object({
    kind: z.literal('wireguard'),
    /** The asking node's, for as long as it is enrolled. */
    address: z.ipv4(),
    /** All nodes' addresses are in it; nothing else is. */
    range: z.cidrv4(),
    /** UDP, the same for all. */
    port: z.int().min(1).max(65_535),
    peers: z.array(UnderlayPeer).max(MAX_UNDERLAY_PEERS),
  }),
]);
export type UnderlayWord = Readonly<z.infer<typeof UnderlayWord>>;
export type WireguardWord = Extract<UnderlayWord, { readonly kind: 'wireguard' }>;

export const UnderlayAnswer = z.object({ version: z.string().max(64), word: UnderlayWord });
export type UnderlayAnswer = Readonly<z.infer<typeof UnderlayAnswer>>;
