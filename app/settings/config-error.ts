import { ArchitectError } from '../../host-agent/protocol/errors.ts';

/** The configuration cannot be used; the message names every setting, where it stands and the fix. */
export class ConfigError extends ArchitectError {
  readonly code = 'CONFIG';
  readonly retry = 'never';
}
