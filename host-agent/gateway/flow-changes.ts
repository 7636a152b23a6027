/**
 * Which of a gateway's flows its standby must be told: those that it does not know, those whose state
 * changed, and those whose age there has become wrong by much. What has gone is not told: it becomes
 * idle on the standby too, and a VM's flows go with the VM. Pure, but for the book that is passed in.
 */
import { NAT_STATES } from '../net/bpf/abi.ts';
import { TCP } from '../net/bpf/idle-flows.ts';
import type { FlowSpec } from '../protocol/gateway-messages.ts';

/** A standby may think that a flow is older by this: less than its idle time-out (idle-flows.ts). */
const MAX_AGE_ERROR_NS = { openTcp: 600e9, other: 10e9 };
const OPEN = NAT_STATES.indexOf('open');
/** As the programs' map holds: more are told again and again. */
const MAX_TOLD = 300_000;

interface Told {
  readonly state: number;
  readonly seenNs: number;
  readonly owner: string;
}

/** By the flow's public side. */
export type ToldFlows = Map<string, Told>;

/** Whether this flow must be told; if so it counts as told. `nowNs`: on any one clock. */
export function mustTell(told: ToldFlows, flow: FlowSpec, nowNs: number): boolean {
  const { protocol, publicAddress, publicPort, remote, remotePort, state } = flow;
  const key = `${protocol} ${publicAddress}:${publicPort} ${remote}:${remotePort}`;
  const owner = `${flow.guestAddress}:${flow.guestPort}`;
  const seenNs = nowNs - flow.idleNs;
  const before = told.get(key);
  const isKnown =
    before?.state === state &&
    before.owner === owner &&
    seenNs - before.seenNs < maxAgeErrorNs(flow);
  if (isKnown) return false;
  if (before !== undefined || told.size < MAX_TOLD) told.set(key, { state, seenNs, owner });
  return true;
}

function maxAgeErrorNs({ protocol, state }: FlowSpec): number {
  return protocol === TCP && state === OPEN ? MAX_AGE_ERROR_NS.openTcp : MAX_AGE_ERROR_NS.other;
}
