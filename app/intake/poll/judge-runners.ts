/**
 * What a list of runners says of our VMs. Pure.
 *
 *   an assigned VM's runner is busy, and no job of ours is known on it   → taken, by a job we may not see
 *   an assigned VM's runner is not in a whole list, though minted before → gone: it expired unused
 *   an offline, idle runner of ours without a VM                         → a ghost, to be removed
 */
import type { VmId } from '../../../host-agent/protocol/ids.ts';
import { type VmRecord, vmIdOfRunner } from '../../records/records.ts';

/** GitHub's lists lag behind its answers. */
const LAG_MS = 30_000;

export interface ListedRunner {
  readonly id: number;
  readonly name: string;
  readonly online: boolean;
  readonly busy: boolean;
}

export interface RunnerWords {
  readonly taken: readonly VmRecord[];
  readonly gone: readonly VmRecord[];
  readonly ghosts: readonly { readonly runnerId: number; readonly vmId: VmId }[];
}

export interface RunnerLook {
  readonly listed: readonly ListedRunner[];
  readonly complete: boolean;
  /** When the list was asked for. */
  readonly askedAtMs: number;
  /** Those whose runners are registered where the list is from. */
  readonly vms: readonly VmRecord[];
  /** Every VM that has a record, wherever its runner is registered. */
  readonly liveVmIds: ReadonlySet<VmId>;
}

export function judgeRunners(look: RunnerLook): RunnerWords {
  const { listed, complete, askedAtMs, liveVmIds } = look;
  const byId = new Map(listed.map((runner) => [runner.id, runner]));
  const waiting = look.vms.filter(
    ({ phase, runnerId, runsJob }) => phase === 'assigned' && runnerId !== null && runsJob === null,
  );
  const runnerOf = ({ runnerId }: VmRecord) => byId.get(runnerId ?? 0);
  return {
    taken: waiting.filter((vm) => runnerOf(vm)?.busy === true),
    gone: waiting.filter(
      (vm) => complete && runnerOf(vm) === undefined && askedAtMs - vm.phaseSinceMs >= LAG_MS,
    ),
    ghosts: listed.flatMap(({ id, name, online, busy }) => {
      const vmId = online || busy ? undefined : vmIdOfRunner(name);
      return vmId === undefined || liveVmIds.has(vmId) ? [] : [{ runnerId: id, vmId }];
    }),
  };
}
