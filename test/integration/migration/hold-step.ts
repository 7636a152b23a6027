/**
 * Preloaded into an agent (`--import`): stops the whole process (SIGSTOP) at the step of a switch-over
 * that its hold file names, once, in the very moment. So a fault hits a move just there.
 */
import { subscribe } from 'node:diagnostics_channel';
import { readFileSync, rmSync } from 'node:fs';
import { z } from 'zod';
import { SWITCHOVER_CHANNEL } from '../../../host-agent/migration/switchover-trace.ts';

const file = process.env.ARCHITECT_TEST_HOLD ?? '';
const Mark = z.object({ step: z.string() });

subscribe(SWITCHOVER_CHANNEL, (mark) => {
  if (readWanted() !== Mark.parse(mark).step) return;
  rmSync(file);
  process.kill(process.pid, 'SIGSTOP');
});

function readWanted(): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
