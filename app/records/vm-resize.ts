/**
 * What became of a job's wish for another size of its running VM. Pure.
 *
 *   wanted ──its host reports that size──→ done
 *      └──its host failed, or no host has room──→ refused, with why
 */
import { z } from 'zod';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import { VmSize } from '../../host-agent/protocol/resize-messages.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';

export const ResizeWish = z.object({
  /** As the job named it; null: what its label asked for. */
  class: z.string().max(64).nullable(),
  size: VmSize,
  state: z.enum(['wanted', 'done', 'refused']),
  why: z.string().max(500).nullable(),
  askedAtMs: z.int(),
});
export type ResizeWish = Readonly<z.infer<typeof ResizeWish>>;

/** Memory that was plugged stays, so more than is wanted is all right. */
export function hasSize({ vcpus, memoryMib }: InstanceClass, size: VmSize): boolean {
  return vcpus === size.vcpus && memoryMib >= size.memoryMib;
}

interface Sized {
  readonly class: InstanceClass;
  readonly resize: ResizeWish | null;
}

/** What the host's report makes of them; undefined: nothing new. */
export function resizedBy(known: Sized, report: VmReport | undefined): Sized | undefined {
  if (report === undefined) return undefined;
  const wish = known.resize;
  const resize = wish?.state === 'wanted' ? wishAfter(wish, report) : wish;
  const isSame =
    known.class.vcpus === report.class.vcpus && known.class.memoryMib === report.class.memoryMib;
  return isSame && resize === wish ? undefined : { class: report.class, resize };
}

function wishAfter(wish: ResizeWish, { class: has, resize }: VmReport): ResizeWish {
  if (resize === undefined) return hasSize(has, wish.size) ? { ...wish, state: 'done' } : wish;
  const { size, failed } = resize;
  const isIt = size.vcpus === wish.size.vcpus && size.memoryMib === wish.size.memoryMib;
  return isIt && failed !== null ? { ...wish, state: 'refused', why: failed } : wish;
}
