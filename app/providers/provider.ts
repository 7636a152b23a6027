/**
 * A source of hosts. The provider is the truth about which hosts exist; whether one is connected and
 * what runs on it is the host-agent's to say. Nothing outside a provider's folder knows its name.
 */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';

export interface Offer {
  readonly id: string;
  readonly capacity: Capacity;
  readonly spot: boolean;
  readonly pricePerHourUsd: number;
  readonly place: string;
}

export interface ProviderHost {
  /** The provider's own name for the machine. */
  readonly machineId: string;
  readonly offerId: string;
  readonly state: 'launching' | 'running' | 'terminating';
  readonly launchedAtMs: number;
}

export interface LaunchRequest {
  readonly offerId: string;
  /** The same token again gives the same host and never a second one. */
  readonly clientToken: string;
  /** Single-use enrolment token (`architect_…`) that the new host's agent presents. */
  readonly enrolmentToken: string;
}

export interface Provider {
  readonly name: string;
  /** How many hosts this provider keeps while the fleet has no other policy. */
  readonly desiredHosts: number;
  /** A machine that it does not list any more has ended for sure, and all VMs on it. */
  readonly knowsEnds: boolean;
  offers(signal: AbortSignal): Promise<readonly Offer[]>;
  launch(request: LaunchRequest, signal: AbortSignal): Promise<ProviderHost>;
  /** Every host of this fleet, by tag; nothing of anyone else's. */
  list(signal: AbortSignal): Promise<readonly ProviderHost[]>;
  /** Idempotent: an unknown machine is already terminated. */
  terminate(machineId: string, signal: AbortSignal): Promise<void>;
}
