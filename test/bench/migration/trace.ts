/**
 * Preloaded into a measured host (`--import`), and so into each of its threads: prints every step of
 * a switch-over as a line of JSON, from whichever thread took it.
 */
import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';
import { SWITCHOVER_CHANNEL } from '../../../host-agent/migration/switchover-trace.ts';

subscribe(SWITCHOVER_CHANNEL, (mark) => {
  writeSync(1, `${JSON.stringify({ kind: 'mark', mark })}\n`);
});
