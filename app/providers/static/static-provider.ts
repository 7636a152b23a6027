/**
 * The provider of machines that the user already has. It buys nothing: a machine comes by
 * `architect host join` and goes when it is forgotten.
 */
import { ArchitectError } from '../../../host-agent/protocol/errors.ts';
import type { Provider, ProviderHost } from '../provider.ts';

export class StaticLaunchError extends ArchitectError {
  readonly code = 'STATIC_LAUNCH';
  readonly retry = 'never';
}

/** The enrolled machines, as the control plane's certificate records have them. */
export interface EnrolledHosts {
  enrolledHosts(): Promise<readonly ProviderHost[]>;
  /** Idempotent: its certificate is not accepted any more. */
  forgetHost(machineId: string): Promise<void>;
}

export function createStaticProvider(hosts: EnrolledHosts): Provider {
  return {
    name: 'static',
    desiredHosts: 0,
    // A machine that was forgotten may run on.
    knowsEnds: false,
    offers: async () => [],
    launch: async () => {
      throw new StaticLaunchError(
        'Static hosts cannot be launched. Run `architect host join TOKEN` on the machine to add it.',
      );
    },
    list: async (signal) => {
      signal.throwIfAborted();
      return hosts.enrolledHosts();
    },
    terminate: async (machineId, signal) => {
      signal.throwIfAborted();
      await hosts.forgetHost(machineId);
    },
  };
}
