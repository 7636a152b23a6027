/** What requests and errors of a move have to say in its record. Pure. */
import type { ReceiveVm, SendVm } from '../protocol/migration-messages.ts';

export function headOf({ migrationId, vmId, epoch }: SendVm | ReceiveVm) {
  return { migrationId, vmId, epoch };
}

export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
