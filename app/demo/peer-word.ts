/** What the demo's server outside says of the jobs' connections: one line of JSON at each change. */
import { z } from 'zod';

const PeerWord = z.object({
  connections: z.int(),
  /** Ended by an error. */
  broken: z.int(),
  /** Between two lines on one connection. */
  longestSilenceMs: z.number(),
});
export type PeerWord = Readonly<z.infer<typeof PeerWord>>;

/** Of all that it has printed. Throws when it has printed nothing. */
export function lastWord(printed: string): PeerWord {
  const line = printed.trim().split('\n').at(-1) ?? '';
  return PeerWord.parse(JSON.parse(line));
}
