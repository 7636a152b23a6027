/** What can break under a VM. Each says what happened and to what; none carries a secret. */
import { ArchitectError } from '../protocol/errors.ts';

/** QEMU's socket could not be reached, or the connection ended with calls unanswered. */
export class QmpDisconnectedError extends ArchitectError {
  readonly code = 'QMP_DISCONNECTED';
  readonly retry = 'never';
}

/** QEMU answered a command with an error. */
export class QmpCommandError extends ArchitectError {
  readonly code = 'QMP_COMMAND';
  readonly retry = 'never';
}

/** What came over the socket is not the protocol. */
export class QmpProtocolError extends ArchitectError {
  readonly code = 'QMP_PROTOCOL';
  readonly retry = 'never';
}

export class QmpTimeoutError extends ArchitectError {
  readonly code = 'QMP_TIMEOUT';
  readonly retry = 'later';
}

/** The guest did not answer, answered nonsense, or its program did not end in time. */
export class GuestAgentError extends ArchitectError {
  readonly code = 'GUEST_AGENT';
  readonly retry = 'later';
}

/** A step of the VM's start or growth failed; the VM is of no use. */
export class VmStartError extends ArchitectError {
  readonly code = 'VM_START';
  readonly retry = 'never';
}

/** The VM runs on, with some size between what it had and what was asked for. */
export class VmResizeError extends ArchitectError {
  readonly code = 'VM_RESIZE';
  readonly retry = 'later';
}

export class CgroupError extends ArchitectError {
  readonly code = 'CGROUP';
  readonly retry = 'never';
}

export class TemplateCaptureError extends ArchitectError {
  readonly code = 'TEMPLATE_CAPTURE';
  readonly retry = 'later';
}
