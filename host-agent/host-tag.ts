/** Tells a host's links and control groups from those of other simulated hosts on its machine. */
import { createHash } from 'node:crypto';
import type { HostId } from './protocol/ids.ts';

const DIGITS = 6;

export function hostTag(hostId: HostId): string {
  return createHash('sha256').update(hostId).digest('hex').slice(0, DIGITS);
}
