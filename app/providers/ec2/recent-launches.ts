/**
 * What was bought a moment ago: EC2's lists lag behind its own answers by some seconds. No clock: times
 * are arguments.
 */
import type { ProviderHost } from '../provider.ts';

export const LIST_LAG_MS = 60_000;

export class RecentLaunches {
  readonly #hosts = new Map<string, { readonly host: ProviderHost; readonly atMs: number }>();

  note(host: ProviderHost, nowMs: number): void {
    this.#hosts.set(host.machineId, { host, atMs: nowMs });
  }

  /** The list, and what it lacks for being behind: one answer may know less than the one before it. */
  merge(listed: readonly ProviderHost[], nowMs: number): readonly ProviderHost[] {
    this.#expire(nowMs);
    const shown = new Set(listed.map(({ machineId }) => machineId));
    const hidden = [...this.#hosts.values()].map(({ host }) => host);
    return [...listed, ...hidden.filter(({ machineId }) => !shown.has(machineId))];
  }

  has(machineId: string, nowMs: number): boolean {
    this.#expire(nowMs);
    return this.#hosts.has(machineId);
  }

  forget(machineId: string): void {
    this.#hosts.delete(machineId);
  }

  #expire(nowMs: number): void {
    for (const [id, { atMs }] of this.#hosts)
      if (nowMs - atMs >= LIST_LAG_MS) this.#hosts.delete(id);
  }
}
