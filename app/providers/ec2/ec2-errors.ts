/**
 * EC2's errors in this project's words. What matters is what to do next: wait, look elsewhere, or tell
 * the operator. The SDK's errors carry requests, and a request may carry an enrolment token: neither
 * messages nor causes are passed on, only the operation, the code and the status.
 *
 * https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
 */
import { ArchitectError } from '../../../host-agent/protocol/errors.ts';

/** There is none at the moment, or not at this price. */
export class Ec2CapacityError extends ArchitectError {
  readonly code = 'EC2_CAPACITY';
  readonly retry = 'later';
}

/** The account may not have more; only its owner can change that. */
export class Ec2QuotaError extends ArchitectError {
  readonly code = 'EC2_QUOTA';
  readonly retry = 'later';
}

export class Ec2ThrottledError extends ArchitectError {
  readonly code = 'EC2_THROTTLED';
  readonly retry = 'later';
}

/** No answer, or one that says "later". */
export class Ec2UnavailableError extends ArchitectError {
  readonly code = 'EC2_UNAVAILABLE';
  readonly retry = 'later';
}

/** Expired, wrong, or this machine's clock is. */
export class Ec2CredentialsError extends ArchitectError {
  readonly code = 'EC2_CREDENTIALS';
  readonly retry = 'later';
}

export class Ec2RefusedError extends ArchitectError {
  readonly code = 'EC2_REFUSED';
  readonly retry = 'never';
}

export type Ec2Fault =
  | 'capacity'
  | 'quota'
  | 'throttled'
  | 'unavailable'
  | 'credentials'
  /** It does not exist, or not yet: what was just made may be unknown for a while. */
  | 'absent'
  | 'exists'
  /** The same client token came with another request before. */
  | 'mismatch'
  | 'refused';

const CODES: Readonly<Record<string, Ec2Fault>> = {
  InsufficientInstanceCapacity: 'capacity',
  InsufficientHostCapacity: 'capacity',
  InsufficientCapacity: 'capacity',
  UnfulfillableCapacity: 'capacity',
  SpotMaxPriceTooLow: 'capacity',
  MaxSpotInstanceCountExceeded: 'quota',
  VcpuLimitExceeded: 'quota',
  InstanceLimitExceeded: 'quota',
  MaxSpotFleetRequestCountExceeded: 'quota',
  RequestLimitExceeded: 'throttled',
  Throttling: 'throttled',
  ThrottlingException: 'throttled',
  AuthFailure: 'credentials',
  InvalidClientTokenId: 'credentials',
  SignatureDoesNotMatch: 'credentials',
  ExpiredToken: 'credentials',
  ExpiredTokenException: 'credentials',
  RequestExpired: 'credentials',
  CredentialsProviderError: 'credentials',
  'InvalidInstanceID.NotFound': 'absent',
  'InvalidLaunchTemplateName.NotFoundException': 'absent',
  'InvalidLaunchTemplateName.AlreadyExistsException': 'exists',
  IdempotentParameterMismatch: 'mismatch',
};

const SAFE_CODE = /^[A-Za-z0-9_.]{1,80}$/;

export interface SeenFault {
  readonly fault: Ec2Fault;
  readonly code: string;
  readonly status: number | undefined;
}

export function faultOfCode(code: string): Ec2Fault {
  return CODES[code] ?? 'refused';
}

export function seeFault(error: unknown): SeenFault {
  const name = error instanceof Error && SAFE_CODE.test(error.name) ? error.name : 'unknown';
  const status = statusOf(error);
  const known = CODES[name];
  if (known !== undefined) return { fault: known, code: name, status };
  // What has no status never reached EC2, or its answer never reached us.
  const isRefused = status !== undefined && status >= 400 && status < 500;
  return { fault: isRefused ? 'refused' : 'unavailable', code: name, status };
}

export function translateEc2Error(error: unknown, what: string): ArchitectError {
  if (error instanceof ArchitectError) return error;
  const { fault, code, status } = seeFault(error);
  return errorOf(fault, code, { what, status });
}

/** The error for a code that EC2 gave, wherever it stood. */
export function errorOf(
  fault: Ec2Fault,
  code: string,
  seen: { readonly what: string; readonly status?: number | undefined },
): ArchitectError {
  const said = `EC2 answered ${code} to: ${seen.what}.`;
  const detail = { context: { ...seen, code } };
  switch (fault) {
    case 'capacity':
      return new Ec2CapacityError(`${said} There is none now; others are tried.`, detail);
    case 'quota':
      return new Ec2QuotaError(
        `${said} The account's quota is used up: raise it, or lower maxHosts. See README.`,
        detail,
      );
    case 'throttled':
      return new Ec2ThrottledError(`${said} It is asked less often.`, detail);
    case 'unavailable':
    case 'absent':
    case 'exists':
    case 'mismatch':
      return new Ec2UnavailableError(`${said} It may work later.`, detail);
    case 'credentials':
      return new Ec2CredentialsError(
        `${said} Check the credentials, whether they have expired, and this machine's clock.`,
        detail,
      );
    case 'refused':
      return new Ec2RefusedError(
        `${said} Check the settings file and the rights of these credentials.`,
        detail,
      );
  }
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  const metadata = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null) return undefined;
  const status = 'httpStatusCode' in metadata ? metadata.httpStatusCode : undefined;
  return typeof status === 'number' ? status : undefined;
}
