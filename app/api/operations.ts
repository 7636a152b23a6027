/** What operators ask for, written down for the reconciler, and what became of it. */
import { randomBytes } from 'node:crypto';
import { MigrationId } from '../../host-agent/protocol/ids.ts';
import type { Evidence } from '../reconciler/ports.ts';
import type { RecordStore } from '../records/record-store.ts';
import type { MoveReader, Operations } from './ports.ts';

export interface OperationsOptions {
  readonly evidence: Evidence;
  readonly now: () => number;
  readonly nudge: () => void;
}

/** Each is on disk when it resolves. */
export function createOperations({ evidence, now, nudge }: OperationsOptions): Operations {
  return {
    move: async ({ vmId, to, withinMs }) => {
      const id = MigrationId.parse(`mig-${randomBytes(8).toString('hex')}`);
      const askedAtMs = now();
      const deadlineMs = withinMs === null ? null : askedAtMs + withinMs;
      evidence.rememberWish({ id, vmId, to, deadlineMs, askedAtMs, state: 'open', why: null });
      await evidence.written();
      nudge();
      return id;
    },
    setDrained: async (hostId, drained) => {
      evidence.setDrained(hostId, drained, now());
      await evidence.written();
      nudge();
    },
    drainedHosts: () => evidence.drainedHosts(),
  };
}

/** Progress is in the working record; on disk are the turns of a migration's life. */
export function readMoves(
  store: Pick<RecordStore, 'readMigration'>,
  evidence: Pick<Evidence, 'movesOf' | 'readMigration' | 'readWish'>,
): MoveReader {
  return {
    movesOf: (jobId) => evidence.movesOf(jobId),
    readStatus: async (id) => ({
      wish: evidence.readWish(id),
      migration: (await store.readMigration(id)) ?? evidence.readMigration(id),
    }),
  };
}
