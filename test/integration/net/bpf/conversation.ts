/** The end of a `converse.ts`. */
import { z } from 'zod';
import type { SwitchWorld } from './switch-world.ts';

const Outcome = z.object({
  bytes: z.int().min(1),
  same: z.boolean(),
  datagrams: z.int().min(1),
  lost: z.int(),
  lostAtMs: z.array(z.int()),
});

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
