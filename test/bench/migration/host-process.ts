/**
 * One host that VMs move from and to: the agent's own parts, without the connection. In the network
 * namespace that it was started in. It ends with its standard input, or by SIGTERM, and no VM of it
 * is left then.
 */
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { KeyRing } from '../../../host-agent/migration/key-ring.ts';
import { type Mobility, TemplateMemories } from '../../../host-agent/migration/mobility.ts';
import { VmId } from '../../../host-agent/protocol/ids.ts';
import { BenchHost } from '../start/bench-host.ts';
import { HostCall, type HostLine, MoveHostTask } from './host-messages.ts';

const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => stop.abort());

const lines = createInterface({ input: process.stdin, signal: stop.signal });
let host: BenchHost | undefined;
for await (const line of lines) {
  if (host === undefined) {
    host = await open(MoveHostTask.parse(JSON.parse(line)));
    print({ kind: 'ready' });
  } else void answer(host, HostCall.parse(JSON.parse(line)));
}
await leave(host);
process.exit();

async function open(task: MoveHostTask): Promise<BenchHost> {
  const logger = pino({ level: process.env.ARCHITECT_LOG_LEVEL ?? 'warn' }, pino.destination(2));
  const { signal } = stop;
  return await BenchHost.open({ ...task, logger, signal, mobility: mobilityOf(task) });
}

function mobilityOf(task: MoveHostTask): Mobility {
  const { hostId, identity, address, store, isTracking } = task;
  const ports = { first: 49_152, last: 49_215 };
  const memories = new TemplateMemories();
  if (!isTracking) memories.of = () => Promise.reject(new Error('not tracked, to be compared'));
  const keys = new KeyRing(`bench-${task.fleet}-${task.tag}`);
  return { hostId, identity, address, ports, memories, keys, store: () => store ?? undefined };
}

async function answer(on: BenchHost, call: HostCall): Promise<void> {
  const { id } = call;
  try {
    if (call.kind === 'serve') {
      print({ kind: 'outcome', id, outcome: await on.serve(call.request) });
    } else if (call.kind === 'look') {
      const { vms, migrations = [] } = on.picture();
      print({ kind: 'picture', id, picture: { vms, migrations } });
    }
    if (call.kind === 'run') print({ kind: 'output', id, text: await run(on, call) });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    print({ kind: 'failed', id, why });
  }
}

async function run(on: BenchHost, call: Extract<HostCall, { kind: 'run' }>): Promise<string> {
  const live = on.driverOf(call.vmId)?.live();
  if (live === undefined) throw new Error(`VM ${call.vmId} was not started here, or is gone.`);
  const { script, timeoutMs } = call;
  const exec = { path: '/bin/bash', args: ['-c', script], timeoutMs };
  const { exitCode, stdout, stderr } = await live.guest.exec(exec);
  if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${stdout} ${stderr}`);
  return stdout;
}

async function leave(on: BenchHost | undefined): Promise<void> {
  const vms = on?.picture().vms ?? [];
  for (const { vmId } of vms) {
    await on?.remove(VmId.parse(vmId)).catch((error: unknown) => {
      process.stderr.write(`VM ${vmId} was not removed: ${String(error)}\n`);
    });
  }
}

function print(line: HostLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
