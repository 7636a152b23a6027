/**
 * What a guest may reach by IPv6, beside guest-policy.ts. Pure. Only global unicast addresses are
 * open, and private ones that the operator allows. Closed whatever is allowed: where clouds have
 * their metadata services, other guests, and addresses that lead to IPv4 ones past its guard
 * (NAT64, 6to4, Teredo, mapped).
 */
export const NEVER6 = [
  '::/8',
  '100::/64',
  '2001::/32',
  '2002::/16',
  'fd61:7200::/32',
  // Amazon, Google, Oracle, Scaleway.
  'fd00:ec2::/32',
  'fd20:ce::/32',
  'fd00:c1::/32',
  'fd00:42::/32',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
] as const;

/** Unless the operator allows a prefix. */
export const PRIVATE6 = 'fc00::/7';

export const WORLD6 = '2000::/3';

export function isPrefix6(prefix: string): boolean {
  return prefix.includes(':');
}
