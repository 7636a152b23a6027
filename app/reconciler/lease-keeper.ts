/**
 * Run leases of rewindable VMs: whoever holds one gets the next before it lapses, beside the ticks.
 *
 *   report: holds, leased ──due──▶ noted on the VM's record: disk, then Redis ──▶ sent to the host
 *                           └──▶ a rewind has claimed the VM: the host is told to discard its copy
 *
 * Invariants: a lease is noted before any host can have it, in one write with the look at what was
 * claimed; a rewind looks at the note after its claim (store-executors.ts). So one of the two sees the
 * other. A host that cannot be told is told again: its report shows that the lease is still due.
 */
import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import {
  LEASE_MS,
  LEASE_RENEWAL_MS,
  type TokenVerdict,
} from '../../host-agent/protocol/token-messages.ts';
import { judgeLease } from '../authority/rewind.ts';
import type { LeaseAnswer } from '../authority/token-arbiter.ts';
import { hasReported } from './assemble-observed.ts';
import type { ExecutorPorts } from './executor.ts';
import type { FleetHost } from './ports.ts';

/** Until the same VM's lease is sent again; a report with the new one comes at once. */
const RETRY_MS = 5_000;
const OVERTAKEN_WHY = 'The VM was started anew from a checkpoint.';

type Books = Pick<ExecutorPorts, 'store' | 'evidence' | 'now'>;
export type LeasePorts = Books & Pick<ExecutorPorts, 'fleet' | 'logger' | 'signal'>;

export interface LeaseHolder {
  readonly vmId: VmId;
  readonly hostId: HostId;
  readonly epoch: number;
}

/** Who should get a new lease now, by what the hosts report. Pure. */
export function findDueLeases(hosts: readonly FleetHost[], nowMs: number): readonly LeaseHolder[] {
  return hosts.filter(hasReported).flatMap(({ id: hostId, report }) =>
    (report?.tokens ?? []).flatMap(({ vmId, word }) => {
      if (word.kind !== 'holds' || word.lease === null) return [];
      const isDue = word.lease.untilMs - nowMs <= LEASE_MS - LEASE_RENEWAL_MS;
      return isDue ? [{ vmId, hostId, epoch: word.epoch }] : [];
    }),
  );
}

/** A new lease, noted; or that the token was overtaken. Undefined: there is no record of the VM. */
export async function noteLease(
  { store, evidence, now }: Books,
  { vmId, hostId, epoch }: LeaseHolder,
): Promise<LeaseAnswer | undefined> {
  let answer: LeaseAnswer | undefined;
  await store.updateVm(vmId, now(), async (stored) => {
    answer = undefined;
    if (stored === undefined) return undefined;
    const claim = { epoch: stored.lastEpoch, hostId: stored.hostId };
    const judgement = judgeLease({ hostId, epoch, claim, nowMs: now() });
    if (judgement.kind === 'overtaken') {
      answer = judgement;
      return undefined;
    }
    const { lease } = judgement;
    answer = { kind: 'leased', lease };
    const changed = { ...stored, leaseUntilMs: Math.max(stored.leaseUntilMs ?? 0, lease.untilMs) };
    evidence.rememberVm(changed);
    await evidence.written();
    return changed;
  });
  return answer;
}

export class LeaseKeeper {
  readonly #ports: LeasePorts;
  readonly #lastAtMs = new Map<VmId, number>();
  readonly #renewals = new Set<Promise<void>>();

  constructor(ports: LeasePorts) {
    this.#ports = ports;
  }

  /** Returns at once. */
  renew(holders: readonly LeaseHolder[]): void {
    const nowMs = this.#ports.now();
    for (const [vmId, atMs] of this.#lastAtMs)
      if (nowMs - atMs >= RETRY_MS) this.#lastAtMs.delete(vmId);
    for (const holder of holders) {
      if (this.#lastAtMs.has(holder.vmId)) continue;
      this.#lastAtMs.set(holder.vmId, nowMs);
      const renewal = this.#renewOne(holder);
      this.#renewals.add(renewal);
      void renewal.finally(() => this.#renewals.delete(renewal));
    }
  }

  /** Resolves when no renewal is under way. */
  async drained(): Promise<void> {
    await Promise.all(this.#renewals);
  }

  async #renewOne(holder: LeaseHolder): Promise<void> {
    const { fleet, logger, signal } = this.#ports;
    const { vmId, hostId, epoch } = holder;
    try {
      const answer = await noteLease(this.#ports, holder);
      if (answer === undefined) return;
      const verdict: TokenVerdict =
        answer.kind === 'leased'
          ? { kind: 'lease', epoch, lease: answer.lease }
          : { kind: 'discard', below: answer.below, why: OVERTAKEN_WHY };
      await fleet.request(hostId, { kind: 'token-decision', vmId, verdict }, signal);
    } catch (err) {
      logger.warn({ err, vmId, hostId }, "a VM's run lease was not renewed");
    }
  }
}
