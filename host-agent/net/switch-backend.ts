/**
 * What carries a VM's packets between its host and its gateway. A backend moves no VM and decides
 * nothing: it does in the kernel what it is told, and reads back what the kernel holds.
 *
 *   host      guest's link ══ ensureVm ══▶ tunnel to the gateway; forwardTo: after the VM to its next host
 *   gateway   tunnel ══ ensureVm, flip ══▶ outside, under the gateway's public address
 *             flows: what a standby must know beyond that
 *
 * Invariants:
 *   - Every call but `flip`, `forwardTo` and `turnTo` is idempotent; those answer false for an unknown VM.
 *   - A VM is known by its number (vni.ts). A packet of a host that is not the VM's seat, nor its
 *     `previous`, or of another epoch, is dropped at the gateway.
 *   - Nothing is refused: what cannot be delivered is dropped.
 *   - All state outlives the agent's process; `list` is what there is after a crash.
 */

import type { FlowSpec, OfferedPort, VmTraffic } from '../protocol/gateway-messages.ts';

/** Where a VM is, or was, or will be. */
export interface VmSeat {
  /** The host's underlay address. */
  readonly host: string;
  /** Of the VM and of the epoch in which that host holds it. */
  readonly vni: number;
}

/** The VM's own namespace, in which its `up0` and `tap0` are. */
export interface VmInside {
  readonly netnsPath: string;
  readonly guestMac: string;
}

export interface HostVm {
  readonly guestAddress: string;
  readonly vni: number;
  /** The gateway's underlay address. */
  readonly gateway: string;
  /** The VM's link in the host's namespace. */
  readonly link: string;
  /** Underlay address of the host that it comes from: what that one sends after it is let in. */
  readonly stragglersFrom?: string | undefined;
  /** Where programs take over from the kernel's routes and guard, if the make has such. */
  readonly inside?: VmInside | undefined;
}

/** Packets since the VM has been known here. */
export interface HostTraffic {
  readonly toGateway: number;
  readonly fromGateway: number;
  /** Sent after the VM, to its next host. */
  readonly forwarded: number;
  /** Came for the VM and were not let in; undefined: not counted for each VM. */
  readonly dropped?: number;
}

export interface HostSwitch {
  /** Ends an earlier `forwardTo`. */
  ensureVm(vm: HostVm): Promise<void>;
  /** What comes for the VM from now on goes to that seat. */
  forwardTo(number: number, next: VmSeat): Promise<boolean>;
  /** From now on the VM's packets go to that gateway, and only its are let in; a `forwardTo` goes on. */
  turnTo(number: number, gateway: string): Promise<boolean>;
  removeVm(number: number): Promise<void>;
  traffic(number: number): Promise<HostTraffic | undefined>;
}

export interface GatewayVm {
  readonly number: number;
  readonly guestAddress: string;
  /** Where its packets go; undefined: nowhere, it is parked. */
  readonly seat: VmSeat | undefined;
  /** During a move: the other seat whose packets pass. */
  readonly previous?: VmSeat | undefined;
  /** Ports of the public address that lead to it, wherever it is. */
  readonly ports?: readonly OfferedPort[] | undefined;
}

/** Packets to and from one seat of a VM, since it was let in. */
export interface SeatTraffic {
  readonly toHost: number;
  readonly fromHost: number;
}

/** The public side of VMs' flows. */
export interface FlowTable {
  /** Read piece by piece: what comes or goes meanwhile may be missing. */
  all(): Generator<FlowSpec>;
  put(flow: FlowSpec): void;
}

export interface GatewaySwitch {
  /** Absent: they cannot be read, and a standby works them out of the guests' own packets. */
  readonly flows?: FlowTable;
  /** Flows that the VM has go on. */
  ensureVm(vm: GatewayVm): Promise<void>;
  /** From now on the VM's packets go there; those of both seats pass. */
  flip(number: number, to: VmSeat): Promise<boolean>;
  removeVm(number: number): Promise<void>;
  traffic(number: number, seat: VmSeat): Promise<SeatTraffic | undefined>;
  /** All of a VM's, through whichever host. Absent: it is not counted. */
  account?(number: number): Promise<VmTraffic | undefined>;
  list(): Promise<readonly GatewayVm[]>;
}
