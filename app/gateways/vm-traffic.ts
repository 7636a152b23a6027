/** What a VM's gateway has counted of it, asked for when somebody wants to know. */
import { type Refused, refused } from '../../host-agent/protocol/errors.ts';
import type { VmTraffic } from '../../host-agent/protocol/gateway-messages.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { VmRecord } from '../records/records.ts';
import type { GatewayPort } from './ports.ts';

const ANSWER_LIMIT_MS = 2_000;

export interface GatewayTraffic {
  readonly kind: 'counted';
  /** That has the VM now: it counts since then. */
  readonly gateway: HostId;
  readonly traffic: VmTraffic;
}

export async function readTraffic(
  vm: Pick<VmRecord, 'id' | 'network'>,
  { port, actingFor }: { readonly port: GatewayPort; readonly actingFor: (id: HostId) => HostId },
): Promise<Refused | GatewayTraffic> {
  if (vm.network === null)
    return refused(`The VM ${vm.id} has no gateway, and nobody else counts.`);
  const gateway = actingFor(vm.network.gateway);
  const answer = await port.traffic(gateway, vm.id, ANSWER_LIMIT_MS);
  if (answer === 'away') return refused(`The gateway ${gateway} does not answer. Try again later.`);
  if (answer === 'uncounted')
    return refused(
      `The gateway ${gateway} does not know ${vm.id}, or its kernel takes no programs: the kernel's own parts do not count for each VM.`,
    );
  return { kind: 'counted', gateway, traffic: answer };
}
