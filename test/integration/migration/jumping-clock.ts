/**
 * Preloaded into an agent (`--import`), in all its threads: its wall clock is off by as many milliseconds
 * as its clock file says, from the moment on that it does. The machine's own clock, which QEMU and
 * everything else on it share, is left alone: it cannot be set for one host.
 */
import { readFileSync } from 'node:fs';

const file = process.env.ARCHITECT_TEST_CLOCK ?? '';
const { now } = Date;

Date.now = () => now() + offsetMs();

function offsetMs(): number {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return 0;
  }
}
