/** `enum drop_reason` of bpf/abi.h, in its order, which is the number. A test compares both. */
export const DROP_REASONS = [
  'none',
  'malformed',
  'ethertype',
  'ipv6',
  'ip-options',
  'source-mac',
  'source-address',
  'guard',
  'rate',
  'unknown-vm',
  'no-tunnel-key',
  'fenced',
  'destination',
  'parked',
  'ttl',
  'protocol',
  'no-flow',
  'no-port',
  'fragment',
  'rewrite',
  'extension',
  'discovery',
] as const;

export type DropReason = (typeof DROP_REASONS)[number];
export type Drops = Readonly<Partial<Record<DropReason, number>>>;

/** Those that happened. */
export function nameDrops(counts: readonly number[]): Drops {
  return Object.fromEntries(
    DROP_REASONS.map((reason, n) => [reason, counts[n] ?? 0] as const).filter(([, n]) => n > 0),
  );
}

/** Why host-vxlan lets in nothing of a VM that it knows. */
const INWARD: readonly DropReason[] = ['fenced', 'destination'];

export function countInwardDrops(counts: readonly number[]): number {
  return INWARD.reduce((sum, reason) => sum + (counts[DROP_REASONS.indexOf(reason)] ?? 0), 0);
}
