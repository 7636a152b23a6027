/**
 * A source of hosts. The provider is the truth about which hosts exist; whether one is connected and
 * what runs on it is the host-agent's to say. Nothing outside a provider's folder knows its name.
 */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import type { FleetPolicy } from '../planner/fleet/fleet-seen.ts';

export interface Offer {
  readonly id: string;
  readonly capacity: Capacity;
  readonly spot: boolean;
  readonly pricePerHourUsd: number;
  readonly place: string;
  /** The highest price of the last hour. Unset: it does not change, or nobody says. */
  readonly highUsdPerHour?: number;
  /** The share of its like that the cloud took back in the last month. Unset: nobody says. */
  readonly reclaimsPerMonth?: number;
  /** How likely its place has what is asked for: 1 to 10. Unset: nobody says. */
  readonly placementScore?: number;
}

export interface ProviderHost {
  /** The provider's own name for the machine. */
  readonly machineId: string;
  readonly offerId: string;
  readonly state: 'launching' | 'running' | 'terminating';
  readonly launchedAtMs: number;
  /** What it is expected to offer to VMs, before it has joined. */
  readonly capacity?: Capacity;
  /** What it costs now, also when its offer is no longer sold. */
  readonly pricePerHourUsd?: number;
  /** What its like costs that is not taken back. */
  readonly onDemandUsdPerHour?: number;
}

export interface LaunchRequest {
  readonly offerId: string;
  /** The same token again gives the same host and never a second one. */
  readonly clientToken: string;
  /** Single-use enrolment token (`architect_…`) that the new host's agent presents. */
  readonly enrolmentToken: string;
  /** Whatever is bought in the offer's place costs no more. Unset: no more than the offer. */
  readonly maxPricePerHourUsd?: number;
}

/** What is not on sale at the moment although it is listed, or was. */
export interface ShutOffer {
  readonly offerId: string;
  readonly why: string;
  readonly untilMs: number;
}

/** A cloud's word on one of its machines, heard elsewhere than on the machine. */
export interface MachineNotice {
  readonly machineId: string;
  readonly notice: HostNotice;
}

export interface NoticeListener {
  /** Of several processes one listens: what another took would be lost to it. */
  readonly isListening: () => boolean;
  readonly heard: (notice: MachineNotice) => void;
}

export interface Provider {
  readonly name: string;
  /** How many hosts this provider keeps while the fleet has no other policy. */
  readonly desiredHosts: number;
  /** A machine that it does not list any more has ended for sure, and all VMs on it. */
  readonly knowsEnds: boolean;
  /** Its hosts cost money: they are bought and given back by need. Unset: `desiredHosts` are kept. */
  readonly policy?: FleetPolicy;
  offers(signal: AbortSignal): Promise<readonly Offer[]>;
  launch(request: LaunchRequest, signal: AbortSignal): Promise<ProviderHost>;
  /** Every host of this fleet, by tag; nothing of anyone else's. */
  list(signal: AbortSignal): Promise<readonly ProviderHost[]>;
  /** Idempotent: an unknown machine is already terminated. */
  terminate(machineId: string, signal: AbortSignal): Promise<void>;
  /** The cloud takes this machine back: its like is not bought for a while. */
  noteReclaim?(machineId: string): void;
  shutOffers?(): readonly ShutOffer[];
  /** Until the signal; it tries again by itself. Unset: only the machines themselves hear notices. */
  watchNotices?(listener: NoticeListener, signal: AbortSignal): Promise<void>;
}
