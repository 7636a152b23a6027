import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { openLab } from './lab.ts';

const LOADS = 200;
/** Ends by itself: a crash of this process leaves no loop. */
const SIGNALS = 20_000;

const ignore = (): void => {};

afterEach(() => {
  process.off('SIGUSR2', ignore);
});

test('loads programs while signals interrupt the verifier', async () => {
  process.on('SIGUSR2', ignore);
  const sender = spawn('sh', [
    '-c',
    `i=0; while [ $i -lt ${SIGNALS} ] && kill -USR2 ${process.pid}; do i=$((i+1)); sleep 0.001; done`,
  ]);
  try {
    await once(sender, 'spawn');
    for (let load = 0; load < LOADS; load += 1) {
      const lab = openLab(['host-link']);
      expect(lab.maps.size).toBeGreaterThan(0);
      lab.close();
    }
  } finally {
    sender.kill();
    await once(sender, 'exit');
  }
}, 60_000);
