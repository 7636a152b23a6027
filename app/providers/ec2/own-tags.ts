/** What tells our instances and launch templates from everybody else's. Pure. */
import type { Filter, Tag } from '@aws-sdk/client-ec2';
import { z } from 'zod';

const FLEET_TAG = 'architect:fleet';
/** Of one control plane's data folder: another fleet of the same name is someone else's. */
const OWNER_TAG = 'architect:owner';
export const LAUNCH_TAG = 'architect:launch';

export interface Ours {
  readonly fleet: string;
  readonly ownerId: string;
}

/** As EC2 says them of anything. */
export const Tags = z.array(z.object({ Key: z.string(), Value: z.string() })).default([]);

export function ownTags({ fleet, ownerId }: Ours): Tag[] {
  return [
    { Key: FLEET_TAG, Value: fleet },
    { Key: OWNER_TAG, Value: ownerId },
  ];
}

/** What a list is asked for with. */
export function filtersOf(tags: readonly Tag[]): Filter[] {
  return tags.map(({ Key, Value }) => ({ Name: `tag:${Key}`, Values: [Value ?? ''] }));
}

/** Whatever a filter let through: only this is ever touched. */
export function isOurs(tags: z.infer<typeof Tags>, ours: Ours): boolean {
  const values = new Map(tags.map(({ Key, Value }) => [Key, Value]));
  return ownTags(ours).every(({ Key, Value }) => values.get(Key ?? '') === Value);
}
