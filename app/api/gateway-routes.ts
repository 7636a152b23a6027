/** Routes about gateways: who there is, and who is to act. */
import { z } from 'zod';
import { OfferedPort } from '../../host-agent/protocol/gateway-messages.ts';
import { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import type { ApiPorts } from './ports.ts';
import { type Route, route } from './route.ts';
import { GatewayList, OfferedPortList, VmTrafficView } from './views.ts';

const NOTHING = z.strictObject({});

export const GATEWAY_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/gateways',
    operationId: 'listGateways',
    summary: 'Gateways; empty on a process that does not hold the lease.',
    params: NOTHING,
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: GatewayList,
    handle: (_, { gateways }) => ({ kind: 'ok', body: viewGateways(gateways) }),
  }),
  route({
    method: 'POST',
    path: '/gateways/{id}/takeover',
    operationId: 'takeOver',
    summary: 'A standby acts from now on; the gateway that acted stands by for it.',
    params: z.strictObject({ id: HostId }),
    query: NOTHING,
    body: NOTHING,
    status: 202,
    answer: GatewayList,
    handle: async ({ params: { id } }, { gateways }) => {
      if (gateways.gateways().every((one) => one.id !== id))
        return { kind: 'absent', what: `There is no gateway ${id}.` };
      const denied = await gateways.takeOver(id);
      if (denied !== undefined) return { kind: 'conflict', why: denied.why };
      return { kind: 'ok', body: viewGateways(gateways) };
    },
  }),
  route({
    method: 'POST',
    path: '/vms/{id}/ports',
    operationId: 'offerPort',
    summary: "A port of the gateway's public address leads to a port of the VM, wherever that is.",
    params: z.strictObject({ id: VmId }),
    query: NOTHING,
    body: z.strictObject({
      protocol: OfferedPort.shape.protocol.default('tcp'),
      guestPort: OfferedPort.shape.guestPort,
      publicPort: OfferedPort.shape.publicPort.optional(),
      undo: z.boolean().default(false),
    }),
    status: 202,
    answer: OfferedPortList,
    handle: async ({ params: { id }, body }, { vms, gateways }) => {
      if ((await vms.readVm(id)) === undefined)
        return { kind: 'absent', what: `There is no VM ${id}.` };
      const offered = await gateways.offerPort(id, body);
      if (offered.kind === 'refused') return { kind: 'conflict', why: offered.why };
      const { address, ports } = offered;
      return { kind: 'ok', body: { vmId: id, address, ports: [...ports] } };
    },
  }),
  route({
    method: 'GET',
    path: '/vms/{id}/traffic',
    operationId: 'readTraffic',
    summary: "What the VM's gateway has counted of it: bytes by peers' networks, what was dropped.",
    params: z.strictObject({ id: VmId }),
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: VmTrafficView,
    handle: async ({ params: { id } }, { vms, gateways }) => {
      const vm = await vms.readVm(id);
      if (vm === undefined) return { kind: 'absent', what: `There is no VM ${id}.` };
      const found = await gateways.traffic(vm);
      if (found.kind === 'refused') return { kind: 'conflict', why: found.why };
      return { kind: 'ok', body: { vmId: id, gatewayId: found.gateway, ...found.traffic } };
    },
  }),
];

function viewGateways({ gateways, roles }: ApiPorts['gateways']): GatewayList {
  const by = roles();
  const views = gateways().map(
    ({ id, hostname, state, underlay, floating, vms, stateSinceMs }) => ({
      ...{ id, hostname, state, vms, stateSinceMs, underlay: underlay ?? null },
      ...{ role: by.get(id)?.kind ?? null, floating: floating ?? null },
    }),
  );
  return { gateways: views };
}
