/**
 * Preloaded into a measured host (`--import`), and so into each of its threads: prints every step of
 * a switch-over, and every checkpoint's cost, as a line of JSON, from whichever thread tells it.
 */
import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';
import { CHECKPOINT_CHANNEL } from '../../../host-agent/migration/checkpoint-trace.ts';
import { SWITCHOVER_CHANNEL } from '../../../host-agent/migration/switchover-trace.ts';

subscribe(SWITCHOVER_CHANNEL, (mark) => {
  writeSync(1, `${JSON.stringify({ kind: 'mark', mark })}\n`);
});
subscribe(CHECKPOINT_CHANNEL, (cost) => {
  writeSync(1, `${JSON.stringify({ kind: 'checkpoint', cost })}\n`);
});
