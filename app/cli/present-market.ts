/** How `architect offers` looks. Pure. */
import type { MarketView } from '../api/views.ts';
import { formatDuration, formatTable } from './table.ts';

export function presentMarket(
  market: MarketView,
  { rows, nowMs }: { readonly rows: number; readonly nowMs: number },
): string {
  const blocks = [
    presentSpend(market),
    presentOffers(market, rows),
    presentShut(market, nowMs),
    presentDecisions(market, { rows, nowMs }),
    presentStarts(market, rows),
  ];
  return blocks.filter((block) => block !== '').join('\n\n');
}

function presentSpend(market: MarketView): string {
  const { provider, usdPerHour, maxUsdPerHour, usdToday, maxUsdPerDay } = market;
  if (usdPerHour === null || maxUsdPerHour === null) return `Provider: ${provider}`;
  const hour = `The fleet costs ${usd(usdPerHour)} of ${usd(maxUsdPerHour)} per hour`;
  const limit = maxUsdPerDay === null ? '' : ` of ${usd(maxUsdPerDay)}`;
  const today = usdToday === null ? '' : `, and has cost ${usd(usdToday)}${limit} today (UTC)`;
  return `Provider: ${provider}. ${hour}${today}.`;
}

function presentOffers({ offers }: MarketView, rows: number): string {
  if (offers.length === 0) return 'Nothing is on sale.';
  const table = formatTable(
    ['OFFER', 'VCPU', 'MEMORY', 'DISK', 'PER HOUR', 'PER VCPU', 'KIND', 'PLACE', 'RISK'],
    offers
      .slice(0, rows)
      .map(({ id, capacity, pricePerHourUsd, spot, place, ...risk }) => [
        id,
        String(capacity.vcpus),
        `${Math.floor(capacity.memoryMib / 1024)} GiB`,
        `${capacity.diskGib} GiB`,
        usd(pricePerHourUsd),
        usd(pricePerHourUsd / Math.max(1, capacity.vcpus)),
        spot ? 'spot' : 'on demand',
        place,
        presentRisk(risk),
      ]),
  );
  const more = offers.length - rows;
  return more > 0 ? `${table}\n… and ${more} more: --rows ${offers.length}` : table;
}

/** Of what the cloud tells; `-` where it tells nothing. */
function presentRisk({
  reclaimsPerMonth,
  placementScore,
}: Pick<MarketView['offers'][number], 'reclaimsPerMonth' | 'placementScore'>): string {
  const taken =
    reclaimsPerMonth === undefined ? [] : [`${(100 * reclaimsPerMonth).toFixed(0)} %/month`];
  const score = placementScore === undefined ? [] : [`score ${placementScore}`];
  return [...taken, ...score].join(', ') || '-';
}

function presentShut({ shut }: MarketView, nowMs: number): string {
  if (shut.length === 0) return '';
  const lines = shut.map(({ offerId, why, untilMs }) => [
    offerId,
    why,
    formatDuration(untilMs - nowMs),
  ]);
  return formatTable(['NOT NOW', 'WHY', 'FOR'], lines);
}

function presentDecisions(
  { decisions }: MarketView,
  { rows, nowMs }: { readonly rows: number; readonly nowMs: number },
): string {
  if (decisions.length === 0) return '';
  const lines = decisions
    .slice(-rows)
    .toReversed()
    .map(({ atMs, kind, subject, why, failed }) => [
      `${formatDuration(nowMs - atMs)} ago`,
      kind,
      subject,
      failed === null ? why : `${why} (failed: ${failed})`,
    ]);
  return formatTable(['DECIDED', 'WHAT', 'ABOUT', 'WHY'], lines);
}

/** What each phase took, and in the last column all of them together. */
function presentStarts({ starts }: MarketView, rows: number): string {
  if (starts.length === 0) return '';
  const lines = starts
    .slice(-rows)
    .toReversed()
    .map(({ machineId, offerId, launchedAtMs, joinedAtMs, readyAtMs, firstVmAtMs }) => [
      machineId,
      offerId,
      presentPhase(launchedAtMs, joinedAtMs),
      presentPhase(joinedAtMs, readyAtMs),
      presentPhase(readyAtMs, firstVmAtMs),
      presentPhase(launchedAtMs, firstVmAtMs),
    ]);
  return formatTable(['STARTED', 'OFFER', 'JOIN', 'FETCH', 'FIRST VM', 'ALL'], lines);
}

function presentPhase(fromMs: number | null, toMs: number | null): string {
  return fromMs === null || toMs === null ? '-' : formatDuration(toMs - fromMs);
}

function usd(amount: number): string {
  return `$${amount.toFixed(4)}`;
}
