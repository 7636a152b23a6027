/** Conversations by `converse.ts`: a world that echoes, and their end. */
import { z } from 'zod';
import { createSwitchWorld, SERVICE, type SwitchWorld } from './switch-world.ts';

/** The peer's; the guest's is SERVICE. */
export const ECHO_PORT = 7_000;

const Outcome = z.object({
  bytes: z.int().min(1),
  same: z.boolean(),
  datagrams: z.int().min(1),
  lost: z.int(),
  lostAtMs: z.array(z.int()),
});

/** The caller destroys it. */
export async function createEchoingWorld(): Promise<SwitchWorld> {
  const world = await createSwitchWorld();
  try {
    await world.start(world.netns.peer, 'echo-server.ts', String(ECHO_PORT));
    await world.start(world.netns.guest, 'echo-server.ts', String(SERVICE.guestPort));
    return world;
  } catch (error) {
    await world.destroy();
    throw error;
  }
}

/** What it says at its end, which this brings about. Rejects when a connection broke. */
export async function finishConversation({
  child,
}: Awaited<ReturnType<SwitchWorld['start']>>): Promise<z.infer<typeof Outcome>> {
  child.stdin.end();
  const { stdout, stderr } = await child;
  const last = stdout.trim().split('\n').at(-1) ?? '';
  if (!last.startsWith('{')) throw new Error(`the conversation broke: ${stderr}`);
  return Outcome.parse(JSON.parse(last));
}
