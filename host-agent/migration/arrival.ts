/**
 * A VM comes to this host: the target's sequence.
 *
 *   reserved (journalled by the token's machine) ─▶ one port open ─▶ the source's machine is judged
 *   ─▶ network, overlay, QEMU with `-incoming` ─▶ fed as it comes ─▶ loaded, paused ─▶ token ─▶ `cont`
 *
 * Until the token is here QEMU does not run the guest, whatever happens. A failure before that leaves
 * nothing but the journal's refusal; `remove` takes away folder, QEMU, network and worker.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ArchitectError } from '../protocol/errors.ts';
import type { LaunchedQemu } from '../vm/launch.ts';
import { launchMachine, readArtifacts, withVmFolder } from '../vm/machine.ts';
import { qemuUser } from '../vm/qemu-user.ts';
import { connectQmp, type QmpClient } from '../vm/qmp/qmp-client.ts';
import type { VmMemory } from '../vm/state-file.ts';
import type { VmNetwork, VmStart } from '../vm/vm-driver.ts';
import type { VmFiles } from '../vm/vm-files.ts';
import type { MachineFacts } from './machine-facts.ts';
import type { VmData } from './worker/vm-data.ts';

const QMP_LIMIT_MS = 20_000;
const LOAD_LIMIT_MS = 60_000;
const LOAD_POLL_MS = 1;

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
  const capabilities = [{ capability: 'x-ignore-shared', state: false }];
  await qmp.run('migrate-set-capabilities', { capabilities });
  await qmp.run('migrate-incoming', { uri: `unix:${files.incomingSocket}` });
  await data.call('feed', { socket: files.incomingSocket });
  return { qemu, qmp };
}

const Migration = z.object({
  status: z.string().optional(),
  'error-desc': z.string().max(2_000).optional(),
});

/** Everything was fed: resolves when QEMU has loaded it and stands paused. */
export async function untilLoaded(qmp: QmpClient): Promise<void> {
  const limit = AbortSignal.timeout(LOAD_LIMIT_MS);
  for (;;) {
    const { status, ...rest } = await qmp.call({ command: 'query-migrate', answer: Migration });
    if (status === 'completed') return;
    if (status === 'failed' || limit.aborted) {
      const why = rest['error-desc'] ?? `it is ${status ?? 'not begun'}`;
      throw new ArrivalError(`QEMU could not load the VM: ${why}.`);
    }
    await sleep(LOAD_POLL_MS, undefined, { signal: limit }).catch(() => undefined);
  }
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
