/**
 * A VM comes back on this host, out of the store alone: until it stands here, paused and whole.
 *
 *   worker ─▶ newest manifest: the one that is meant? a machine that fits? ─▶ network, overlay, QEMU ─▶
 *   filled from the store ─▶ loaded
 *      └──────────── anything fails, or the signal ────────────▶ nothing is left of it here
 *
 * The caller journals it before it lets the guest run.
 */
import { mkdir, rm } from 'node:fs/promises';
import type { ResumeVm } from '../protocol/migration-messages.ts';
import type { OpenPool } from '../supervisor/pool-artifacts.ts';
import type { Networks } from '../supervisor/ports.ts';
import type { LaunchedQemu } from '../vm/launch.ts';
import { readGenerationId } from '../vm/start-sequence.ts';
import type { VmMemory } from '../vm/state-file.ts';
import type { VmStart } from '../vm/vm-driver.ts';
import { endVm } from '../vm/vm-ending.ts';
import { vmFiles } from '../vm/vm-files.ts';
import { ArrivalError, land, memoryOf, untilLoaded } from './arrival.ts';
import type { ArrivedVm } from './arriving-vm.ts';
import { attachmentOf, judgeMachine } from './machine-facts.ts';
import type { Mobility } from './mobility.ts';
import { openingOf } from './movable-vm.ts';
import { judgePoint } from './point-facts.ts';
import { VmData } from './worker/vm-data.ts';

const READ_LIMIT_MS = 60_000;

export interface ReturningParts {
  readonly request: ResumeVm;
  readonly pool: Pick<OpenPool, 'imageDir' | 'templateDir'>;
  readonly mobility: Pick<Mobility, 'memories' | 'keys' | 'store'>;
  readonly networks: Pick<Networks, 'ensure'>;
  readonly here: Pick<VmStart, 'vmDir' | 'fleet'> & { readonly place: string };
  readonly signal: AbortSignal;
}

/** What there is of it already. */
interface Remains {
  spec?: VmStart;
  qemu?: LaunchedQemu;
}

/** Rejects with what kept it from coming back. */
export async function returnVm(parts: ReturningParts): Promise<ArrivedVm> {
  const { request, pool, mobility, here, signal } = parts;
  const { vmId } = request;
  const data = new VmData();
  const remains: Remains = {};
  const giveUp = () => {
    data.call('hangUp', { why: 'it is not wanted here any more' }).catch(() => undefined);
  };
  signal.addEventListener('abort', giveUp);
  try {
    await mkdir(vmFiles(here.vmDir).agentDir, { recursive: true });
    const { templateDir } = pool;
    await data.call('open', await openingOf({ ...here, vmId, templateDir }, mobility));
    return await bringBack(parts, { data, remains });
  } catch (error) {
    await data.end();
    await remove(here.vmDir, remains);
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

async function bringBack(
  { request, pool, networks, here, signal }: ReturningParts,
  { data, remains }: { readonly data: VmData; readonly remains: Remains },
): Promise<ArrivedVm> {
  const found = await data.call('readPoint', { limitMs: READ_LIMIT_MS });
  const point = judgePoint(found, request);
  if (point.kind === 'refused') throw new ArrivalError(point.why);
  const { machine: facts } = point;
  const unfit = judgeMachine(facts, request);
  if (unfit !== undefined) throw new ArrivalError(unfit.why);
  signal.throwIfAborted();
  const network = await networks.ensure(request.vmId, attachmentOf(facts, request));
  const { imageDir, templateDir } = pool;
  const spec: VmStart = {
    ...{ vmId: request.vmId, class: facts.class, pool: facts.pool },
    ...{ imageDir, templateDir, network, ...here },
  };
  remains.spec = spec;
  const isRewound = request.from === 'rewound';
  const onLaunched = (qemu: LaunchedQemu) => {
    remains.qemu = qemu;
  };
  const files = vmFiles(here.vmDir);
  const { qemu, qmp } = await land({ spec, files, facts, data, onLaunched, isRewound });
  await Promise.race([data.call('restore'), endedEarly(qemu)]);
  await untilLoaded(qmp);
  signal.throwIfAborted();
  const generationId = await readGenerationId(qmp);
  const machine = { ...facts.machine, generationId };
  const memory: VmMemory = { ...memoryOf(spec, facts, qemu), machine };
  return { memory, qemu, qmp, data };
}

async function endedEarly(qemu: LaunchedQemu): Promise<never> {
  throw new ArrivalError(`Its QEMU ended: ${await qemu.ended}`);
}

/** What there is on this host of a VM that did not come back after all. */
export async function removeReturned({ memory, qemu, qmp, data }: ArrivedVm): Promise<void> {
  qmp.close();
  await data.end();
  await remove(memory.spec.vmDir, { spec: memory.spec, qemu });
}

async function remove(vmDir: string, { spec, qemu }: Remains): Promise<void> {
  const files = vmFiles(vmDir);
  if (spec !== undefined) {
    await endVm({ spec, files, qemu: qemu ?? null, connections: undefined });
  }
  await rm(vmDir, { recursive: true, force: true });
}
