/**
 * Keeps explorations finite in practice: a packet about a move that no journal, machine, engine or
 * arbiter knows any more is not delivered again. The first bounds of bounds.ts do without this.
 */
import type { TokenVerdict } from '../../../host-agent/protocol/token-messages.ts';
import { controlMs } from './clocks.ts';
import { hostAt, type Packet, packetOf, type World } from './world.ts';

export function withoutOldPackets(world: World): World {
  if (world.network.length === 0) return world;
  const known = JSON.stringify([
    world.arbiter,
    world.hosts.map(({ disk, machine, writing, outgoing }) => [disk, machine, writing, outgoing]),
  ]);
  const network = world.network.filter((number) => isAlive(packetOf(number), world, known));
  return network.length === world.network.length ? world : { ...world, network };
}

function isAlive(packet: Packet, world: World, known: string): boolean {
  const host = hostAt(world, packet.to);
  if (host.gone) return false;
  if (packet.kind === 'message') return known.includes(`"${packet.message.move.migrationId}"`);
  return isVerdictAlive(packet.verdict, { world, known, held: host.lease?.untilMs ?? 0 });
}

function isVerdictAlive(
  verdict: TokenVerdict,
  { world, known, held }: { readonly world: World; readonly known: string; readonly held: number },
): boolean {
  switch (verdict.kind) {
    case 'relay':
      return known.includes(`"${verdict.message.move.migrationId}"`);
    case 'void':
    case 'regrant':
      return known.includes(`"${verdict.move.migrationId}"`);
    case 'lease':
      return verdict.lease.untilMs > Math.max(held, controlMs(world));
    case 'discard':
      return true;
  }
}
