import { ArchitectError } from '../../protocol/errors.ts';

/** QEMU did not begin, end or finish the migration that tracks a guest. */
export class HeldMigrationError extends ArchitectError {
  readonly code = 'HELD_MIGRATION';
  readonly retry = 'later';
}
