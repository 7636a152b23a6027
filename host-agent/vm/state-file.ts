/**
 * What a driver must remember across a restart of the agent: `state.json` in the VM's folder. It
 * holds no secret. A state is on disk before anybody is told of it, except that QEMU's pid may
 * miss when the agent was killed while launching: then QEMU is found by its socket's path.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileDurably } from '../journal/durable-file.ts';
import { JobId } from '../protocol/ids.ts';
import { RunnerState } from '../protocol/vm-report.ts';
import { StartTimes, VmMachine, VmStart } from './vm-driver.ts';

const Why = z.string().max(500);
const Ended = { why: Why, jobId: JobId.optional() };

const SavedState = z.discriminatedUnion('phase', [
  z.object({ phase: z.literal('allocating') }),
  z.object({ phase: z.literal('starting') }),
  z.object({ phase: z.literal('idle') }),
  z.object({ phase: z.literal('assigned'), jobId: JobId, runner: RunnerState }),
  z.object({ phase: z.literal('draining'), ...Ended }),
  z.object({ phase: z.literal('stopped'), ...Ended }),
  z.object({ phase: z.literal('failed'), ...Ended }),
]);

export const VmMemory = z.object({
  version: z.literal(1),
  spec: VmStart,
  state: SavedState,
  qemu: z.object({ pid: z.int().positive(), startTicks: z.string() }).nullable(),
  /** Known once the VM is grown. A VM of an older agent has none: it cannot move. */
  machine: VmMachine.nullable().default(null),
  guestKernel: z.string().max(128).nullable(),
  times: StartTimes,
  runnerStartedAtMs: z.int().nullable(),
  stoppedAtMs: z.int().nullable(),
});
export type VmMemory = Readonly<z.infer<typeof VmMemory>>;

/** Of a VM whose start was decided at that moment of wall-clock time. */
export function freshMemory(spec: VmStart, decidedAtMs: number): VmMemory {
  return {
    version: 1,
    spec,
    state: { phase: 'allocating' },
    qemu: null,
    machine: null,
    guestKernel: null,
    times: {
      decidedAtMs,
      spawnedAtMs: null,
      qmpReadyAtMs: null,
      loadedAtMs: null,
      guestAnsweredAtMs: null,
      idleAtMs: null,
    },
    runnerStartedAtMs: null,
    stoppedAtMs: null,
  };
}

export async function writeVmMemory(path: string, memory: VmMemory): Promise<void> {
  await writeFileDurably(path, JSON.stringify(memory));
}

/** Undefined when there is none, or it is not readable as one: the folder is then no VM's. */
export async function readVmMemory(path: string): Promise<VmMemory | undefined> {
  try {
    return VmMemory.safeParse(JSON.parse(await readFile(path, 'utf8'))).data;
  } catch {
    return undefined;
  }
}
