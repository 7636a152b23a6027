/** What something cost, in words for people. Pure. */

/** US dollars, and the same on demand where that is known. */
export function formatCost({
  usd,
  onDemandUsd,
}: {
  readonly usd: number;
  readonly onDemandUsd: number | null;
}): string {
  const spent = `$${usd.toFixed(4)}`;
  if (onDemandUsd === null || onDemandUsd === 0) return spent;
  const saved = Math.round(100 * (1 - usd / onDemandUsd));
  return `${spent}; on demand $${onDemandUsd.toFixed(4)} (${saved} % saved)`;
}
