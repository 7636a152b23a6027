/**
 * What a job may ask about the VM that it runs in, and is answered. The host-agent takes it from the
 * guest (host-agent/guest-api) and passes it on as `guest-ask`; the control plane answers, since it
 * alone knows, wherever the VM is by then. So a guest that was moved before it had its answer asks
 * again, and gets it from its new host: every question may be asked any number of times.
 *
 * Which VM asks is never in the question: it is the socket that it came through.
 */
import { z } from 'zod';

/** Questions of one host that wait for an answer; more are refused, to be asked again. */
export const MAX_ASKS_PER_HOST = 64;
/** By then there is an answer, or the guest is told to ask again. */
export const ASK_LIMIT_MS = 5_000;

export const GuestAsk = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('look') }),
  /** Pinned to its host, or not any more. A notice moves it all the same. */
  z.strictObject({ kind: z.literal('hold'), held: z.boolean() }),
  /** To the size of a class of the operator's, or, null, of its job's label. */
  z.strictObject({ kind: z.literal('resize'), class: z.string().min(1).max(64).nullable() }),
]);
export type GuestAsk = Readonly<z.infer<typeof GuestAsk>>;

/** Moves that are told one by one; of more, the latest. */
export const MAX_TOLD_BLACKOUTS = 50;

export const GuestView = z.object({
  /** As users write it: `4cpu-16gb`. */
  class: z.string().max(64),
  /** Of the host that it is on. */
  cpuModel: z.string().max(128).nullable(),
  /** Of the VM's share of its host, US dollars; null: its host has no price. */
  pricePerHourUsd: z.number().min(0).nullable(),
  /** So far, of whatever kind. */
  moves: z.int().min(0),
  /** Of each of those moves, in their order: how long the guest stood; null: not known (yet). */
  blackoutsMs: z.array(z.number().min(0).nullable()).max(MAX_TOLD_BLACKOUTS).default([]),
  /** So far, US dollars, beside the same on demand; null: its hosts have no price. */
  cost: z
    .object({ usd: z.number().min(0), onDemandUsd: z.number().min(0).nullable() })
    .nullable()
    .default(null),
  held: z.boolean(),
  /** Since it is held: a notice moved it all the same. 0 while it is not held. */
  movesWhileHeld: z.int().min(0),
  /** The last one that was asked for; null: none was. */
  resize: z
    .object({
      class: z.string().max(64).nullable(),
      state: z.enum(['wanted', 'done', 'refused']),
      why: z.string().max(500).nullable(),
    })
    .nullable(),
});
export type GuestView = Readonly<z.infer<typeof GuestView>>;

export const GuestAnswer = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ok'), view: GuestView }),
  z.object({
    kind: z.literal('refused'),
    why: z.string().max(500),
    /** `later`: the same question may be answered in a moment. */
    retry: z.enum(['later', 'never']),
  }),
]);
export type GuestAnswer = Readonly<z.infer<typeof GuestAnswer>>;

export function askAgain(why: string): GuestAnswer {
  return { kind: 'refused', why, retry: 'later' };
}
