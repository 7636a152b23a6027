/** Where the chunk store is. The control plane tells it to admitted hosts. */
import { z } from 'zod';

export const StoreSpec = z.discriminatedUnion('kind', [
  /** A folder that every host can reach under the same path (one machine, or a shared mount). */
  z.object({ kind: z.literal('folder'), path: z.string().startsWith('/') }),
  z.object({
    kind: z.literal('s3'),
    /** Unset: AWS's own for the region. */
    endpoint: z.url().optional(),
    region: z.string().max(64),
    bucket: z.string().min(3).max(63),
    prefix: z.string().max(200),
    forcePathStyle: z.boolean(),
    /** Secrets. Unset: the host's own (instance profile). */
    credentials: z
      .object({
        accessKeyId: z.string().max(256),
        secretAccessKey: z.string().max(256),
        sessionToken: z.string().max(4096).optional(),
      })
      .optional(),
  }),
]);
export type StoreSpec = Readonly<z.infer<typeof StoreSpec>>;
