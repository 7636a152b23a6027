/** Reads what a job's question is about, has it judged, and writes what follows from it. */

import { askAgain } from '../../host-agent/protocol/guest-api.ts';
import { changeVm } from '../reconciler/executor.ts';
import type { Evidence } from '../reconciler/ports.ts';
import type { RecordStore } from '../records/record-store.ts';
import { judgeAsk, type Known } from './judge-ask.ts';
import type { GuestDesk, GuestQuestion } from './ports.ts';

export interface GuestDeskParts {
  readonly store: RecordStore;
  readonly evidence: Evidence;
  readonly now: () => number;
}

export function openGuestDesk(parts: GuestDeskParts): GuestDesk {
  return {
    answer: async (question) => {
      const judged = judgeAsk(question, await read(parts, question));
      if (judged.kind === 'answer') return judged.answer;
      const { vmId, hostId } = question;
      await changeVm(parts, vmId, (vm) =>
        vm.hostId === hostId ? { ...vm, held: judged.held } : vm,
      );
      const after = judgeAsk(question, await read(parts, question));
      return after.kind === 'answer' ? after.answer : askAgain('The VM changed meanwhile.');
    },
  };
}

async function read({ store, evidence }: GuestDeskParts, { vmId }: GuestQuestion): Promise<Known> {
  const vm = await store.readVm(vmId);
  if (vm === undefined) return { vm, moves: [], prices: [] };
  const jobs = new Set([vm.runsJob, vm.forJob].filter((id) => id !== null));
  const moves = [...jobs].flatMap((id) => evidence.movesOf(id));
  return {
    vm,
    moves: moves.filter((move) => move.vmId === vmId),
    prices: evidence.pricesOf(vm.hostId),
  };
}
