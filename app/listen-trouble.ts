/** Why a port could not be opened, for the message that says so. */
import { z } from 'zod';

const Coded = z.object({ code: z.string() });

const WHYS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process has that port',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'a port below 1024 needs root',
  ENOTFOUND: 'no such name is known',
};

/** Half a sentence; the system's own code where it is none of the usual ones. */
export function whyNotListening(cause: unknown): string {
  const code = Coded.safeParse(cause).data?.code;
  return code === undefined ? 'it failed' : (WHYS[code] ?? code);
}
