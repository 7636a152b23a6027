/** Where the chunk store is, as the operator configured it: a folder, or a bucket. */
import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import type { StoreSpec } from '../host-agent/protocol/store-spec.ts';

export class StoreConfigError extends ArchitectError {
  readonly code = 'STORE_CONFIG';
  readonly retry = 'never';
}

export const StoreEnvironment = {
  ARCHITECT_STORE: z.string().startsWith('/').optional(),
  ARCHITECT_STORE_BUCKET: z.string().min(3).max(63).optional(),
  ARCHITECT_STORE_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  ARCHITECT_STORE_REGION: z.string().min(1).max(64).default('us-east-1'),
  ARCHITECT_STORE_PREFIX: z
    .string()
    .max(200)
    .regex(/^([\w.-]+\/)*$/, 'wants folders, each with a slash after it, for example ci/chunks/')
    .default(''),
  ARCHITECT_STORE_CREDENTIALS_FILE: z.string().startsWith('/').optional(),
};
type StoreVariables = z.output<z.ZodObject<typeof StoreEnvironment>>;

const Credentials = z.strictObject({
  accessKeyId: z.string().min(1).max(256),
  secretAccessKey: z.string().min(1).max(256),
  sessionToken: z.string().max(4096).optional(),
});

/**
 * `localFolder` is used where nothing is configured and all hosts are on this machine; undefined
 * comes to no store: VMs can move, not be parked or rewound. Throws StoreConfigError.
 */
export function readStore(
  env: StoreVariables,
  localFolder: string | undefined,
): StoreSpec | undefined {
  const { ARCHITECT_STORE: folder, ARCHITECT_STORE_BUCKET: bucket } = env;
  if (folder !== undefined && bucket !== undefined)
    throw new StoreConfigError('Set ARCHITECT_STORE or ARCHITECT_STORE_BUCKET, not both.');
  if (bucket !== undefined) return readBucket(env, bucket);
  const path = folder ?? localFolder;
  return path === undefined ? undefined : { kind: 'folder', path };
}

function readBucket(env: StoreVariables, bucket: string): StoreSpec {
  const { ARCHITECT_STORE_ENDPOINT: endpoint, ARCHITECT_STORE_CREDENTIALS_FILE: file } = env;
  const credentials = file === undefined ? undefined : readCredentials(file);
  return {
    kind: 's3',
    ...(endpoint === undefined ? {} : { endpoint }),
    region: env.ARCHITECT_STORE_REGION,
    bucket,
    prefix: env.ARCHITECT_STORE_PREFIX,
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
    throw new StoreConfigError(
      `Cannot read ${path}, which ARCHITECT_STORE_CREDENTIALS_FILE names.`,
      {
        cause,
      },
    );
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
