import type { StoreSpec } from '../protocol/store-spec.ts';
import { openFolderBackend } from './folder-backend.ts';
import type { ObjectBackend } from './object-backend.ts';
import { openS3Backend } from './s3-backend.ts';

/**
 * The store that `spec` describes. Call `checkConditionalPut` once before relying on it, and `close`
 * at the end. Throws StoreUnavailableError for a folder that cannot be made.
 */
export function openBackend(spec: StoreSpec): Promise<ObjectBackend> {
  return spec.kind === 'folder' ? openFolderBackend(spec.path) : openS3Backend(spec);
}
