/** Where chunks live: told by the control plane to hosts, so that both sides share its schema. */
import { z } from 'zod';

/** Keys have ASCII letters, digits and `. _ -` between slashes, so that any store takes them. */
const Prefix = z
  .string()
  .max(200)
  .regex(/^([A-Za-z0-9_-][A-Za-z0-9._-]*\/)*$/, 'is empty, or folders that each end with a slash');

export const FolderStoreSpec = z.object({
  kind: z.literal('folder'),
  path: z.string().startsWith('/').max(1000),
});

export const S3StoreSpec = z.object({
  kind: z.literal('s3'),
  /** Without it, AWS's own for the region. */
  endpoint: z.url({ protocol: /^https?$/ }).optional(),
  region: z.string().min(1).max(64),
  bucket: z.string().min(3).max(255),
  /** Precedes every key; empty or ends with a slash. */
  prefix: Prefix,
  /** The bucket in the path, not in the host name: what most S3-compatible servers want. */
  forcePathStyle: z.boolean(),
  /** Without them, the AWS SDK's default chain: environment, files, instance role. */
  credentials: z
    .object({
      accessKeyId: z.string().min(1).max(256),
      secretAccessKey: z.string().min(1).max(256),
      sessionToken: z.string().min(1).max(4096).optional(),
    })
    .optional(),
});
export type S3StoreSpec = Readonly<z.infer<typeof S3StoreSpec>>;

export const StoreSpec = z.discriminatedUnion('kind', [FolderStoreSpec, S3StoreSpec]);
export type StoreSpec = Readonly<z.infer<typeof StoreSpec>>;
