/** What can go wrong with a VM's disk on its way. None of it stops the guest. */
import { ArchitectError } from '../../protocol/errors.ts';

/** The agent's copy of a disk could not be read or written; most often the host's disk is full. */
export class DiskImageError extends ArchitectError {
  readonly code = 'DISK_IMAGE';
  readonly retry = 'later';
}

/** A new overlay could not be written; it is of no use, whoever made it removes it. */
export class OverlayFileError extends ArchitectError {
  readonly code = 'OVERLAY_FILE';
  readonly retry = 'later';
}

/** What a client of the export sent is not NBD, or beyond a limit; its connection is closed. */
export class NbdProtocolError extends ArchitectError {
  readonly code = 'NBD_PROTOCOL';
  readonly retry = 'later';
}

/** QEMU did not copy what the guest wrote. What was not copied is still marked as such. */
export class DiskTrackingError extends ArchitectError {
  readonly code = 'DISK_TRACKING';
  readonly retry = 'later';
}
