/**
 * Run in the namespace that asks: `probe.ts ADDRESS…` connects to port 8080 of each and prints what
 * came of it as JSON: `answered`, `refused` (any error that the kernel was told of) or `silent`.
 */
import { connect } from 'node:net';

/** Longer than any answer takes here, short enough for many silent addresses at once. */
const SILENCE_MS = 1_200;

async function probe(target: string): Promise<readonly [string, string]> {
  const [host = '', port = '8080'] = target.split(':');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) });
    const end = (outcome: string) => {
      socket.destroy();
      resolve([target, outcome]);
    };
    socket.setTimeout(SILENCE_MS, () => end('silent'));
    socket.once('data', () => end('answered'));
    socket.once('error', () => end('refused'));
  });
}

const outcomes = await Promise.all(process.argv.slice(2).map(probe));
process.stdout.write(JSON.stringify(Object.fromEntries(outcomes)));
