/**
 * When to send what the guest writes all the time. Pure.
 *
 * Whatever of it is sent before the target has the rest has to go again; sent when the store is done,
 * the link would have been idle meanwhile. So: when both would be done at the same time.
 */
import { RANGE_BYTES } from '../image/block-image.ts';
import type { SenderFigures } from './sender.ts';

/** Of a first move's first moments nothing is known: then it is too early. */
export function isTimeForHot(
  {
    target,
    leftBytes,
    bytesPerSecond,
  }: Pick<SenderFigures, 'target' | 'leftBytes' | 'bytesPerSecond'>,
  elapsedMs: number,
): boolean {
  if (target === undefined || target.fromStoreBytes === 0 || elapsedMs <= 0) return false;
  const storeBytesPerMs = target.fromStoreBytes / elapsedMs;
  const storeMs = (target.storeRangesLeft * RANGE_BYTES) / storeBytesPerMs;
  const sendMs = leftBytes / (bytesPerSecond > 0 ? bytesPerSecond / 1_000 : storeBytesPerMs);
  return sendMs >= storeMs;
}
