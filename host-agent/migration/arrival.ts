/**
 * A VM comes to this host: the target's sequence.
 *
 *   reserved (journalled by the token's machine) ─▶ one port open ─▶ the source's machine is judged
 *   ─▶ network, overlay, QEMU with `-incoming` ─▶ fed as it comes ─▶ loaded, paused ─▶ token ─▶ `cont`
 *
 * Until the token is here QEMU does not run the guest, whatever happens. A failure before that leaves
 * nothing but the journal's refusal; `remove` takes away folder, QEMU, network and worker.
 */
import { z } from 'zod';
import { ArchitectError } from '../protocol/errors.ts';
import type { LaunchedQemu } from '../vm/launch.ts';
import { launchMachine, readArtifacts, withVmFolder } from '../vm/machine.ts';
import { OVERLAY_NODE } from '../vm/qemu-arguments.ts';
import { qemuUser } from '../vm/qemu-user.ts';
import { connectQmp, type QmpClient } from '../vm/qmp/qmp-client.ts';
import type { VmMemory } from '../vm/state-file.ts';
import type { VmNetwork, VmStart } from '../vm/vm-driver.ts';
import type { VmFiles } from '../vm/vm-files.ts';
import { markDiskWrites } from './disk/disk-tracking.ts';
import type { MachineFacts } from './machine-facts.ts';
import type { VmData } from './worker/vm-data.ts';

const QMP_LIMIT_MS = 20_000;
const LOAD_LIMIT_MS = 60_000;
const LOAD_ENDS: readonly string[] = ['completed', 'failed'];

export class ArrivalError extends ArchitectError {
  readonly code = 'ARRIVAL';
  readonly retry = 'later';
}

export interface Landing {
  readonly qemu: LaunchedQemu;
  readonly qmp: QmpClient;
}

export interface LandingParts {
  readonly spec: VmStart;
  readonly files: VmFiles;
  readonly facts: MachineFacts;
  readonly data: VmData;
  readonly onLaunched: (qemu: LaunchedQemu) => void;
  /** The guest gets a new generation id: it goes back to a point that it has run on from. */
  readonly isRewound?: boolean;
}

/**
 * Builds the machine and connects it to the data worker: from now on QEMU fills. Rejects with what
 * broke; whatever was made is the caller's to remove.
 */
export async function land(parts: LandingParts): Promise<Landing> {
  const { spec, files, facts, data, isRewound = false } = parts;
  const artifacts = await readArtifacts(spec);
  const user = qemuUser(spec.vmId);
  await withVmFolder(spec, files, () => data.call('place', { overlay: files.overlay, user }));
  const { plugged, generationId } = facts.machine;
  const how = { mode: 'arrive', plugged, ...(isRewound ? {} : { generationId }) } as const;
  const qemu = await launchMachine({ spec, files, artifacts, ...how });
  parts.onLaunched(qemu);
  const qmp = await connectQmp(files.qmpSocket, AbortSignal.timeout(QMP_LIMIT_MS));
  const capabilities = [
    { capability: 'x-ignore-shared', state: false },
    // A few in all: QEMU counts rounds only where it sends them.
    { capability: 'events', state: true },
  ];
  await qmp.run('migrate-set-capabilities', { capabilities });
  // It has loaded nothing yet, so the guest's first write is still to come.
  await markDiskWrites(qmp, OVERLAY_NODE);
  await qmp.run('migrate-incoming', { uri: `unix:${files.incomingSocket}` });
  await data.call('feed', { socket: files.incomingSocket });
  return { qemu, qmp };
}

const Migration = z.object({
  status: z.string().optional(),
  'error-desc': z.string().max(2_000).optional(),
});

/**
 * Everything was fed: resolves when QEMU has loaded it and stands paused. Rejects with ArrivalError
 * when it cannot, after LOAD_LIMIT_MS at the latest, or with a QMP error.
 */
export async function untilLoaded(qmp: QmpClient): Promise<void> {
  const ended = Promise.withResolvers<string>();
  const take = (status = 'none') => {
    if (LOAD_ENDS.includes(status)) ended.resolve(status);
  };
  const stop = qmp.onEvent(({ name, data }) => {
    if (name === 'MIGRATION') take(Migration.safeParse(data).data?.status);
  });
  const timer = setTimeout(ended.resolve, LOAD_LIMIT_MS, 'late');
  void qmp.closed.then(() => ended.resolve('lost'));
  try {
    // It may have been faster than this.
    take((await readMigration(qmp)).status);
    if ((await ended.promise) === 'completed') return;
    const { status = 'not begun', ...rest } = await readMigration(qmp);
    throw new ArrivalError(
      `QEMU could not load the VM: ${rest['error-desc'] ?? `it is ${status}`}.`,
    );
  } finally {
    clearTimeout(timer);
    stop();
  }
}

async function readMigration(qmp: QmpClient): Promise<z.infer<typeof Migration>> {
  return await qmp.call({ command: 'query-migrate', answer: Migration });
}

/** What this host's driver goes on with. */
export function memoryOf(spec: VmStart, facts: MachineFacts, qemu: LaunchedQemu): VmMemory {
  return {
    version: 1,
    spec,
    ...facts.life,
    machine: facts.machine,
    qemu: { pid: qemu.pid, startTicks: qemu.startTicks },
    stoppedAtMs: null,
  };
}

/** The spec that this host's driver goes on with. */
export function specFor(
  facts: MachineFacts,
  here: Pick<VmStart, 'vmId' | 'imageDir' | 'templateDir' | 'vmDir' | 'fleet'> & {
    readonly network: VmNetwork;
    readonly place: string;
  },
): VmStart {
  return { ...here, class: facts.class, pool: facts.pool };
}
