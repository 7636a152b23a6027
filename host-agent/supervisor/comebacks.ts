/**
 * A VM's coming back to this host out of the store, from the request on until it is driven here.
 *
 *   returnVm: it stands here, paused ─▶ what the next agent needs, then the journal, on disk ─▶ `cont`
 *   ─▶ driver, tracking, clock
 *
 * Invariant: the journal says that it is held here before the guest runs. Before that the VM is as it
 * was, in the store, and what ends it here says so (NeverRanError).
 */
import type { Logger } from 'pino';
import type { ArrivedVm } from '../migration/arriving-vm.ts';
import type { Mobility } from '../migration/mobility.ts';
import { removeReturned, returnVm } from '../migration/returning-vm.ts';
import { ArchitectError } from '../protocol/errors.ts';
import type { ResumeVm } from '../protocol/migration-messages.ts';
import { writeVmMemory } from '../vm/state-file.ts';
import { vmFiles } from '../vm/vm-files.ts';
import type { PlaceHere } from './arrivals.ts';
import { describeError } from './move-words.ts';
import type { MovingStay } from './moving-stay.ts';
import type { Networks } from './ports.ts';
import { settleIn } from './settle-in.ts';

/** The VM waits in the store as before: another host can have it. */
export class NeverRanError extends ArchitectError {
  readonly code = 'NEVER_RAN';
  readonly retry = 'later';
}

export interface Comeback {
  readonly how: PlaceHere;
  readonly stay: MovingStay;
  readonly mobility: Mobility;
  readonly networks: Pick<Networks, 'ensure'>;
  readonly logger: Logger;
  /** Whether the token, and its lease, let it run. */
  readonly mayRun: () => boolean;
  readonly adopt: Parameters<typeof settleIn>[1]['adopt'];
  readonly signal: AbortSignal;
}

/** Rejects with NeverRanError, or with what broke after the guest was let run; then nothing is left. */
export async function comeBack(request: ResumeVm, comeback: Comeback): Promise<void> {
  const arrived = await stand(request, comeback);
  try {
    await arrived.qmp.run('cont');
    await settleIn(arrived, comeback);
  } catch (error) {
    await removeReturned(arrived);
    throw error;
  }
}

/** It stands here and is journalled. */
async function stand(request: ResumeVm, comeback: Comeback): Promise<ArrivedVm> {
  const { how, stay, mobility, networks, mayRun, signal } = comeback;
  let arrived: ArrivedVm | undefined;
  try {
    await mobility.keys.put(request.vmId, request.key);
    arrived = await returnVm({ request, mobility, networks, signal, ...how });
    const { memory } = arrived;
    await writeVmMemory(vmFiles(memory.spec.vmDir).state, memory);
    signal.throwIfAborted();
    if (!mayRun()) throw new NeverRanError('Its run lease lapsed while it came back.');
    const { epoch, holder, lease } = stay.journal;
    await stay.rewrite({ epoch, holder, lease });
    return arrived;
  } catch (cause) {
    if (arrived !== undefined) await removeReturned(arrived);
    const why = `The VM did not come back here: ${describeError(cause)}`;
    throw new NeverRanError(why, { cause });
  }
}
