/** Which name servers guests get. Pure. */
import { BlockList, isIPv4 } from 'node:net';

const MAX_RESOLVERS = 3;

const notPublic = new BlockList();
for (const [network, length] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['224.0.0.0', 3],
] as const) {
  notPublic.addSubnet(network, length, 'ipv4');
}

/**
 * The operator's resolvers where there are any; else those of the host's resolv.conf that are
 * public, since a guest must not reach into the operator's network unasked; perhaps none.
 */
export function chooseResolvers(
  configured: readonly string[],
  resolvConf: string,
): readonly string[] {
  if (configured.length > 0) return configured.slice(0, MAX_RESOLVERS);
  return resolvConf
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter((address) => isIPv4(address) && !notPublic.check(address))
    .slice(0, MAX_RESOLVERS);
}
