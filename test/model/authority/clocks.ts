/** Virtual clocks: the control plane's counts ticks; a host's is ahead or behind by a constant. */
import { MAX_CLOCK_SKEW_MS } from '../../../host-agent/protocol/token-messages.ts';
import type { World } from './world.ts';

/** One tick; the skew and the time to stop a guest are one tick each, a lease is six. */
export const TICK_MS = MAX_CLOCK_SKEW_MS;

/** By how many ticks each host's clock differs: as much as is allowed, either way. */
export const SKEWS: readonly number[] = [-1, 1, 0];

export function controlMs(world: World): number {
  return world.ticks * TICK_MS;
}

export function hostMs(world: World, at: number): number {
  return (world.ticks + (SKEWS[at] ?? 0)) * TICK_MS;
}
