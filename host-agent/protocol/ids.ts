/**
 * Branded ids: one per kind of thing, so that a host's id cannot be passed where a VM's is wanted.
 * Each schema both checks and brands.
 */
import { z } from 'zod';

const shortName = /^[a-z0-9][a-z0-9-]{0,62}$/;

export const VmId = z.string().regex(shortName).brand<'VmId'>();
export type VmId = z.infer<typeof VmId>;

export const HostId = z.string().regex(shortName).brand<'HostId'>();
export type HostId = z.infer<typeof HostId>;

/** GitHub's id of a workflow job, as a decimal string. */
export const JobId = z
  .string()
  .regex(/^\d{1,19}$/)
  .brand<'JobId'>();
export type JobId = z.infer<typeof JobId>;

/** One attempt to move one VM; never used twice. */
export const MigrationId = z.string().regex(shortName).brand<'MigrationId'>();
export type MigrationId = z.infer<typeof MigrationId>;

export const PoolId = z.string().regex(shortName).brand<'PoolId'>();
export type PoolId = z.infer<typeof PoolId>;

/** `sha256:` and 64 hexadecimal digits: the name of an immutable artifact. */
export const Digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .brand<'Digest'>();
export type Digest = z.infer<typeof Digest>;
