import { ArchitectError } from '../../protocol/errors.ts';

/** What came is no stream of ours: the migration is given up, the VM runs on at the source. */
export class MigrationStreamError extends ArchitectError {
  readonly code = 'MIGRATION_STREAM';
  readonly retry = 'later';
}
