import { ArchitectError } from '../protocol/errors.ts';

/** The host has no usable identity, and cannot get one with what it has. */
export class EnrolmentError extends ArchitectError {
  readonly code = 'ENROLMENT';
  readonly retry = 'never';
}

/** The control plane could not be reached or answered nonsense; the token is still unused. */
export class ControlPlaneUnreachableError extends ArchitectError {
  readonly code = 'CONTROL_PLANE_UNREACHABLE';
  readonly retry = 'later';
}
