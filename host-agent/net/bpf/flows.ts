/** The flows of a gateway, as user space sees them: to stream to a standby, to forget. */
import type { FlowSpec } from '../../protocol/gateway-messages.ts';
import type { FlowKey } from './abi.ts';
import type { GatewayTables } from './gateway-tables.ts';

/** CLOCK_MONOTONIC, as bpf_ktime_get_ns. */
function nowNs(): number {
  return Number(process.hrtime.bigint());
}

export function* exportFlows(tables: GatewayTables): Generator<FlowSpec> {
  const now = nowNs();
  for (const [key, entry] of tables.natIn.all()) {
    yield {
      number: entry.number,
      protocol: key.protocol,
      guestAddress: entry.guestAddress,
      guestPort: entry.guestPort,
      publicAddress: key.local,
      publicPort: key.localPort,
      remote: key.remote,
      remotePort: key.remotePort,
      state: entry.state,
      idleNs: Math.max(0, now - entry.seenNs),
    };
  }
}

export function importFlow(tables: GatewayTables, flow: FlowSpec): void {
  const { number, guestAddress, guestPort, state } = flow;
  const seenNs = Math.max(0, nowNs() - flow.idleNs);
  tables.natIn.set(publicKey(flow), { seenNs, number, guestAddress, guestPort, state });
  tables.natOut.set(guestKey(flow), { publicPort: flow.publicPort });
}

export function forgetFlows(tables: GatewayTables, number: number): void {
  for (const flow of exportFlows(tables)) if (flow.number === number) forget(tables, flow);
  for (const [key, entry] of tables.flows6.all())
    if (entry.number === number) tables.flows6.delete(key);
}

function forget(tables: GatewayTables, flow: FlowSpec): void {
  tables.natIn.delete(publicKey(flow));
  tables.natOut.delete(guestKey(flow));
}

function publicKey({ protocol, publicAddress, publicPort, remote, remotePort }: FlowSpec): FlowKey {
  return { local: publicAddress, localPort: publicPort, remote, remotePort, protocol };
}

function guestKey({ protocol, guestAddress, guestPort, remote, remotePort }: FlowSpec): FlowKey {
  return { local: guestAddress, localPort: guestPort, remote, remotePort, protocol };
}
