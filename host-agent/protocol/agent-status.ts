/**
 * What the host-agent last heard of the control plane: one JSON file in the agent's folder, rewritten
 * atomically at each change. `architect host join` waits for it, operators may read it.
 */
import { z } from 'zod';
import { HostId } from './ids.ts';

export const AGENT_STATUS_FILE = 'status.json';

export const AgentStatus = z.discriminatedUnion('state', [
  z.object({ state: z.literal('connecting'), atMs: z.int() }),
  z.object({
    state: z.literal('admitted'),
    atMs: z.int(),
    hostId: HostId,
    pool: z.string().max(63),
  }),
  z.object({ state: z.literal('turned-away'), atMs: z.int(), why: z.string().max(1000) }),
  /** The token was not taken, or something that waiting does not mend. */
  z.object({ state: z.literal('failed'), atMs: z.int(), why: z.string().max(1000) }),
]);
export type AgentStatus = Readonly<z.infer<typeof AgentStatus>>;
