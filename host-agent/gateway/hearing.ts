/** What a connection's failure says of the machine at its other end. Pure. */
import type { ActiveWord } from '../protocol/gateway-messages.ts';

/** A kernel that lives refuses and resets; one that is gone does not answer, or its network says so. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ETIMEDOUT',
]);

export function wordOfFailure(error: unknown): ActiveWord {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && UNREACHABLE.has(code) ? 'silent' : 'away';
}
