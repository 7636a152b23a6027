/** What ends a command: it says what happened and what to do, without a stack. */
import { ArchitectError } from '../../host-agent/protocol/errors.ts';

export class CliError extends ArchitectError {
  readonly code = 'CLI';
  readonly retry = 'never';
}
