/** A VM's counters at its gateway as text. Pure. */
import type { VmTrafficView } from '../api/views.ts';
import { formatBytes } from './present-moves.ts';
import { formatTable } from './table.ts';

export function presentTraffic({
  vmId,
  gatewayId,
  out,
  in: back,
  drops,
  peers,
}: VmTrafficView): string {
  const total = ['all', ...cellsOf(out), ...cellsOf(back)];
  const rows = peers.map((peer) => [peer.network, ...cellsOf(peer.out), ...cellsOf(peer.in)]);
  const headings = ['PEERS', 'SENT', 'PACKETS', 'RECEIVED', 'PACKETS'];
  const dropped = drops.map(({ reason, packets }) => `${packets} ${reason}`).join(', ');
  return [
    `${vmId}, by ${gatewayId}; peers in IPv4 only, those with the most bytes`,
    formatTable(headings, [total, ...rows]),
    `dropped: ${dropped === '' ? 'nothing' : dropped}`,
  ].join('\n');
}

function cellsOf({ bytes, packets }: VmTrafficView['out']): readonly string[] {
  return [formatBytes(bytes), String(packets)];
}
