/** One thing that the doctor looked at: what is so and, where that is wrong, what to do now. */
import { z } from 'zod';

export const Finding = z.object({
  /** What was looked at, in a word or two. */
  check: z.string(),
  /** A warning lets jobs run; what has failed keeps some or all of them from it. */
  state: z.enum(['ok', 'warning', 'failed']),
  what: z.string(),
  fix: z.string().nullable(),
});
export type Finding = Readonly<z.infer<typeof Finding>>;

export function fine(check: string, what: string): Finding {
  return { check, state: 'ok', what, fix: null };
}

export function warning(check: string, what: string, fix: string): Finding {
  return { check, state: 'warning', what, fix };
}

export function failed(check: string, what: string, fix: string): Finding {
  return { check, state: 'failed', what, fix };
}
