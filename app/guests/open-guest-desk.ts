/** Reads what a job's question is about, has it judged, and writes what follows from it. */
import { askAgain } from '../../host-agent/protocol/guest-api.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import { changeVm } from '../reconciler/executor.ts';
import type { Evidence } from '../reconciler/ports.ts';
import { costOf } from '../records/job-cost.ts';
import type { RecordStore } from '../records/record-store.ts';
import { judgeAsk, type Known } from './judge-ask.ts';
import type { GuestDesk, GuestQuestion } from './ports.ts';
import { type SizeRules, sizeFor } from './size-for.ts';

export interface GuestDeskParts {
  readonly store: RecordStore;
  readonly evidence: Evidence;
  readonly rules: SizeRules;
  /** A VM's record has changed: the reconciler looks. */
  readonly nudge: () => void;
  readonly now: () => number;
}

export function openGuestDesk(parts: GuestDeskParts): GuestDesk {
  return {
    answer: async (question) => {
      const judged = judgeAsk(question, await read(parts, question));
      if (judged.kind === 'answer') return judged.answer;
      const { vmId, hostId } = question;
      await changeVm(parts, vmId, (vm) =>
        vm.hostId === hostId ? { ...vm, ...judged.change } : vm,
      );
      parts.nudge();
      const after = judgeAsk(question, await read(parts, question));
      return after.kind === 'answer' ? after.answer : askAgain('The VM changed meanwhile.');
    },
  };
}

async function read(parts: GuestDeskParts, { vmId }: GuestQuestion): Promise<Known> {
  const { store, evidence, rules } = parts;
  const nowMs = parts.now();
  const vm = await store.readVm(vmId);
  const jobs = [vm?.runsJob ?? [], vm?.forJob ?? []].flat();
  const [job] = await store.readJobs(jobs);
  const moves = [...new Set(jobs)]
    .flatMap((id) => evidence.movesOf(id))
    .filter((move) => move.vmId === vmId);
  const pricesOf = (hostId: HostId) => evidence.pricesOf(hostId);
  return {
    vm,
    moves,
    cost: vm === undefined ? undefined : costOf(vm, moves, pricesOf, nowMs),
    prices: vm === undefined ? [] : evidence.pricesOf(vm.hostId),
    sizeFor: (name) => sizeFor(name, job, rules),
    nowMs,
  };
}
