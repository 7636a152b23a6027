/**
 * The measured host's process, in the network namespace that it was started in. Its task comes on
 * standard input; what it measured goes to standard output, a line each. SIGTERM ends it early, and
 * in every case no VM of it is left.
 */
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { BenchHost } from './bench-host.ts';
import { measureColdBoot } from './cold-boot.ts';
import { HostTask, type Measured } from './host-messages.ts';

const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => stop.abort());

const task = HostTask.parse(JSON.parse(await text(process.stdin)));
const logger = pino({ level: 'warn' }, pino.destination(2));
const { signal } = stop;
const host = await BenchHost.open({ ...task, logger, signal });
try {
  for (const { className, count, ...size } of task.starts) {
    for (let n = 0; n < count; n += 1) {
      signal.throwIfAborted();
      print(await host.measureStart(className, { ...size, arch: 'x64' }, signal));
    }
  }
  for (let n = 0; n < task.coldBoots; n += 1) {
    print(await measureColdBoot({ ...task, host, signal }));
  }
} catch (error) {
  if (!signal.aborted) throw error;
}

function print(measured: Measured): void {
  process.stdout.write(`${JSON.stringify(measured)}\n`);
}
