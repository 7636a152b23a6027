/** The process's logger: one JSON line per event, ids as fields, and never a secret. */
import { type DestinationStream, type Logger, pino, type SerializedError } from 'pino';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import { appsOf, type Config } from './config.ts';

const REDACTED = '[redacted]';
const MAX_CAUSES = 5;
const MIN_SECRET_LENGTH = 8;

const SECRET_FIELDS = [
  'privateKey',
  'webhookSecret',
  'secret',
  'jitConfig',
  'encoded_jit_config',
  'token',
  'credential',
  'credentials',
  'plain',
  'authorization',
  'headers.authorization',
];

/** Tokens as GitHub mints them (installation, user, fine-grained) and PEM blocks on one JSON line. */
const SECRET_SHAPES = [
  /\bgh[a-z]_\w{16,}/g,
  /\bgithub_pat_\w{16,}/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----/g,
];

interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code?: string;
  readonly context?: ArchitectError['context'];
  readonly causes?: readonly string[];
}

type LoggedConfig = Pick<Config, 'logLevel' | 'fleet' | 'github'> &
  Partial<Pick<Config, 'enterprise'>>;

/**
 * Writes to `destination`, standard output unless given. Known secrets, whatever looks like a GitHub
 * token or a private key, and fields named like a secret are replaced before a line leaves.
 */
export function createLogger(config: LoggedConfig, destination?: DestinationStream): Logger {
  const paths = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
  const known = knownSecrets(config);
  const options = {
    level: config.logLevel,
    base: { fleet: config.fleet },
    redact: { paths, censor: REDACTED },
    serializers: { err: describeError, error: describeError },
    hooks: { streamWrite: (line: string) => scrub(line, known) },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** Only what is known to be harmless: an HTTP client's error carries its request along. */
export function describeError(error: unknown): LoggedError | SerializedError | unknown {
  if (!(error instanceof Error)) return error;
  const causes = causesOf(error);
  return {
    type: error.name,
    message: error.message,
    stack: error.stack,
    ...(error instanceof ArchitectError ? { code: error.code, context: error.context } : {}),
    ...(causes.length > 0 ? { causes } : {}),
  } satisfies LoggedError;
}

function causesOf(error: Error): string[] {
  const causes: string[] = [];
  let cause = error.cause;
  while (cause instanceof Error && causes.length < MAX_CAUSES) {
    causes.push(`${cause.name}: ${cause.message}`);
    cause = cause.cause;
  }
  return causes;
}

function knownSecrets({ github, enterprise }: LoggedConfig): string[] {
  const ofApps = appsOf(github).flatMap(({ privateKey, webhookSecret }) => [
    webhookSecret,
    ...privateKey.split('\n').filter((line) => !line.startsWith('-----')),
  ]);
  return [enterprise?.token ?? '', ...ofApps].filter((text) => text.length >= MIN_SECRET_LENGTH);
}

function scrub(line: string, known: readonly string[]): string {
  let clean = line;
  for (const secret of known) clean = clean.replaceAll(secret, REDACTED);
  for (const shape of SECRET_SHAPES) clean = clean.replaceAll(shape, REDACTED);
  return clean;
}
