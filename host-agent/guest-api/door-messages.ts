/**
 * The words between the agent and the process that reads what guests send (door-process.ts).
 *
 *   agent → door   open (with the listening socket), close, answer
 *   door → agent   ask
 *
 * Either parses what the other says: the door may have been broken into by a guest.
 */
import { z } from 'zod';
import { GuestAnswer, GuestAsk } from '../protocol/guest-api.ts';
import { VmId } from '../protocol/ids.ts';

export const ToDoor = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('open'), vmId: VmId }),
  z.object({ kind: z.literal('close'), vmId: VmId }),
  z.object({ kind: z.literal('answer'), askId: z.int(), answer: GuestAnswer }),
]);
export type ToDoor = Readonly<z.infer<typeof ToDoor>>;

export const FromDoor = z.object({
  kind: z.literal('ask'),
  askId: z.int(),
  vmId: VmId,
  ask: GuestAsk,
});
export type FromDoor = Readonly<z.infer<typeof FromDoor>>;
