/** Which of QEMU's events mean the end of the VM, and what to say of them (QEMU qapi/run-state.json). */
import { z } from 'zod';
import { DISK_DEVICE } from './qemu-arguments.ts';
import type { QmpEvent } from './qmp/qmp-message.ts';

const Shutdown = z.object({ guest: z.boolean(), reason: z.string().max(64) });
const BlockError = z.object({
  action: z.string(),
  nospace: z.boolean().optional(),
  operation: z.string().max(16),
});

/** The VM's cause of death for its record, or undefined for an event that harms nobody. */
export function readFatalEvent(event: QmpEvent): string | undefined {
  if (event.name === 'GUEST_PANICKED') return "the guest's kernel panicked";
  if (event.name === 'SHUTDOWN') {
    const shutdown = Shutdown.safeParse(event.data).data;
    if (shutdown?.reason === 'guest-reset') return 'the guest rebooted or its kernel panicked';
    if (shutdown?.guest === true) return 'the guest shut itself down';
    return `QEMU was told to end (${shutdown?.reason ?? 'no reason given'})`;
  }
  if (event.name !== 'BLOCK_IO_ERROR') return undefined;
  const error = BlockError.safeParse(event.data).data;
  if (error === undefined || error.action !== 'stop') return undefined;
  if (error.nospace === true) return "the host's disk is full: the VM could not write its disk";
  return `the host's disk failed: the VM could not ${error.operation} ${DISK_DEVICE}`;
}

/**
 * A guest that an agent stopped for a move that came to nothing, or loaded and could not run any more
 * before it ended: whoever holds the VM's token lets it go on.
 */
export function isHalted(status: string): boolean {
  return ['paused', 'postmigrate', 'finish-migrate', 'prelaunch'].includes(status);
}

/** What a stopped guest's `query-status` says when an agent adopts it. */
export function readFatalStatus(status: string): string | undefined {
  if (status === 'running' || isHalted(status)) return undefined;
  if (status === 'io-error') return "the host's disk failed or is full: the VM was stopped";
  return `QEMU is ${status}, not running`;
}
