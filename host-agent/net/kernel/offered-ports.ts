/**
 * Ports of the public address that lead to VMs, in one nft map of the gateway's table: protocol and
 * public port → guest's address and port. Connection tracking does the rest both ways. It outlives the
 * agent; loading the table again keeps it.
 */
import { z } from 'zod';
import type { OfferedPort } from '../../protocol/gateway-messages.ts';
import { loadRuleset, readNetwork } from '../network-commands.ts';
import { TUNNEL_LINK } from '../tunnel.ts';

export const OFFERED_MAP =
  '  map offered { type inet_proto . inet_service : ipv4_addr . inet_service; }\n';

export function planOfferedChain(publicAddress: string): string {
  return `  chain destination-nat {
    type nat hook prerouting priority -100; policy accept;
    iifname != "${TUNNEL_LINK}" ip daddr ${publicAddress} dnat ip to meta l4proto . th dport map @offered
  }
`;
}

type ByGuest = ReadonlyMap<string, readonly OfferedPort[]>;

/** From what one guest has to what it is to have, in one transaction; empty: there is nothing to do. */
export function planOffered(
  table: string,
  guestAddress: string,
  ports: { readonly before: readonly OfferedPort[]; readonly after: readonly OfferedPort[] },
): string {
  const [before, after] = [ports.before, ports.after].map((list) => list.map(entryOf));
  const gone = before?.filter(({ text }) => !after?.some((one) => one.text === text)) ?? [];
  const added = after?.filter(({ text }) => !before?.some((one) => one.text === text)) ?? [];
  const element = `element inet ${table} offered`;
  return [
    ...gone.map(({ key }) => `delete ${element} { ${key} }\n`),
    ...added.map(({ key, port }) => `add ${element} { ${key} : ${guestAddress} . ${port} }\n`),
  ].join('');
}

function entryOf({ protocol, publicPort, guestPort: port }: OfferedPort) {
  const key = `${protocol} . ${publicPort}`;
  return { key, port, text: `${key} ${port}` };
}

const Element = z.tuple([
  z.object({ concat: z.tuple([z.enum(['tcp', 'udp']), z.int()]) }),
  z.object({ concat: z.tuple([z.ipv4(), z.int()]) }),
]);
const Listing = z.object({
  nftables: z.array(z.object({ map: z.object({ elem: z.array(Element).default([]) }).optional() })),
});

/** Of `nft -j list map`. Throws ZodError for what is no such listing. */
export function parseOffered(json: string): ByGuest {
  const found = Listing.parse(JSON.parse(json)).nftables.flatMap(({ map }) =>
    (map?.elem ?? []).map(([{ concat: outside }, { concat: inside }]) => {
      const [protocol, publicPort] = outside;
      const [guestAddress, guestPort] = inside;
      return { guestAddress, port: { protocol, publicPort, guestPort } };
    }),
  );
  const byGuest = Map.groupBy(found, ({ guestAddress }) => guestAddress);
  return new Map([...byGuest].map(([guest, all]) => [guest, all.map(({ port }) => port)]));
}

export async function readOffered(table: string): Promise<ByGuest> {
  return parseOffered(await readNetwork('nft', ['-j', 'list', 'map', 'inet', table, 'offered']));
}

export async function offerPorts(
  table: string,
  guestAddress: string,
  ports: Parameters<typeof planOffered>[2],
): Promise<void> {
  const script = planOffered(table, guestAddress, ports);
  if (script !== '') await loadRuleset(script);
}
