/**
 * Which gateway a VM belongs to: rendezvous hashing, so that a gateway that comes or goes changes
 * the answer for its own VMs only. Pure.
 */
import { createHash } from 'node:crypto';

/** Undefined: there is none. */
export function chooseGateway<G extends { readonly id: string }>(
  vmId: string,
  gateways: readonly G[],
): G | undefined {
  let best: { readonly gateway: G; readonly weight: string } | undefined;
  for (const gateway of gateways) {
    const weight = createHash('sha256').update(`${gateway.id} ${vmId}`).digest('hex');
    if (best === undefined || weight > best.weight) best = { gateway, weight };
  }
  return best?.gateway;
}
