/**
 * Notices of hosts that were heard elsewhere than from the hosts, by host name. Kept for as long as
 * one can matter: after that, the host is gone or was left alone.
 */
import { type HostNotice, mostUrgent } from '../../host-agent/protocol/host-notice.ts';
import type { FleetHost } from '../reconciler/ports.ts';

const KEPT_MS = 3_600_000;
const MAX_KEPT = 10_000;

export class HeardNotices {
  readonly #byHost = new Map<string, HostNotice>();

  /** False: nothing new, as each notice comes at least once. */
  note(hostname: string, notice: HostNotice): boolean {
    this.#forget(notice.seenAtMs);
    const known = this.#byHost.get(hostname);
    const kept = mostUrgent([...(known === undefined ? [] : [known]), notice]);
    if (kept === null || kept === known) return false;
    this.#byHost.set(hostname, kept);
    return true;
  }

  /** The host with the more urgent of what it says and what was heard of it. */
  addTo(host: FleetHost): FleetHost {
    const heard = this.#byHost.get(host.hostname);
    const { report } = host;
    if (heard === undefined || report === undefined) return host;
    const notice = mostUrgent([...(report.notice === null ? [] : [report.notice]), heard]);
    return { ...host, report: { ...report, notice } };
  }

  #forget(nowMs: number): void {
    for (const [hostname, { seenAtMs }] of this.#byHost) {
      const isOld = nowMs - seenAtMs > KEPT_MS;
      if (isOld || this.#byHost.size >= MAX_KEPT) this.#byHost.delete(hostname);
    }
  }
}
