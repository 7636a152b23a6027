/** Where the chunk store is, as the operator configured it: a folder, or a bucket. */
import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import type { StoreSpec } from '../host-agent/protocol/store-spec.ts';
import type { Store } from './settings/settings.ts';

export class StoreConfigError extends ArchitectError {
  readonly code = 'STORE_CONFIG';
  readonly retry = 'never';
}

const Credentials = z.strictObject({
  accessKeyId: z.string().min(1).max(256),
  secretAccessKey: z.string().min(1).max(256),
  sessionToken: z.string().max(4096).optional(),
});

/**
 * `localFolder` is used where nothing is configured and all hosts are on this machine; undefined
 * comes to no store: VMs can move, not be parked or rewound. Throws StoreConfigError.
 */
export function readStore(store: Store, localFolder: string | undefined): StoreSpec | undefined {
  const { folder, bucket } = store;
  if (folder !== undefined && bucket !== undefined)
    throw new StoreConfigError(
      'Set store.folder (ARCHITECT_STORE) or store.bucket (ARCHITECT_STORE_BUCKET), not both.',
    );
  if (bucket !== undefined) return readBucket(store, bucket);
  const path = folder ?? localFolder;
  return path === undefined ? undefined : { kind: 'folder', path };
}

function readBucket(store: Store, bucket: string): StoreSpec {
  const { endpoint, credentialsFile: file } = store;
  const credentials = file === undefined ? undefined : readCredentials(file);
  return {
    kind: 's3',
    ...(endpoint === undefined ? {} : { endpoint }),
    region: store.region,
    bucket,
    prefix: store.prefix,
    // AWS itself wants the bucket in the host name; other servers seldom resolve such names.
    forcePathStyle: endpoint !== undefined,
    ...(credentials === undefined
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: credentials.secretAccessKey,
            ...(credentials.sessionToken === undefined
              ? {}
              : { sessionToken: credentials.sessionToken }),
          },
        }),
  };
}

/** Says what is wrong with the file, never what is in it. */
function readCredentials(path: string): z.output<typeof Credentials> {
  let text: string;
  let mode: number;
  try {
    mode = statSync(path).mode;
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new StoreConfigError(`Cannot read ${path}, which store.credentialsFile names.`, {
      cause,
    });
  }
  if ((mode & 0o077) !== 0)
    throw new StoreConfigError(`Others may read ${path}. Do: chmod 600 ${path}`);
  const parsed = Credentials.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new StoreConfigError(
    `${path} is not JSON with "accessKeyId" and "secretAccessKey" (and perhaps "sessionToken").`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
