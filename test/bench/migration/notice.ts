/**
 * From a notice at the metadata service, through a host-agent in a process of its own, until the
 * control plane's fleet has it. Notices come at any time between two of the agent's questions.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { NO_NOTICES } from '../../../app/providers/local/metadata-answers.ts';
import { TestFleet } from '../../integration/host-agent/agent-fleet.ts';
import { type Ec2Service, startEc2Service } from '../../integration/notices/ec2-service.ts';
import type { BenchContext, BenchResult } from '../bench.ts';
import { createChance } from '../economics/seeded.ts';
import { formatNumber, summarize } from '../statistics.ts';
import type { Row } from './row.ts';

const TARGET_MS = 1_000;
/** As long as the longest time between two questions, and more. */
const SPREAD_MS = 1_500;
const NOTICE_MS = 120_000;
const LIMIT_MS = 30_000;

export const noticeRow: Row = { name: 'notice', run };

async function run({ moves, signal, progress }: BenchContext): Promise<BenchResult> {
  const control = await TestFleet.open();
  try {
    await using service = await startEc2Service();
    void control.startAgent('one', {
      ARCHITECT_AGENT_TOKEN_FILE: await control.writeToken('one', control.issueToken()),
      ARCHITECT_NOTICES: 'ec2',
      ARCHITECT_METADATA_URL: service.url,
    });
    await control.host(({ report }) => report !== undefined);
    const chance = createChance(1);
    const tookMs: number[] = [];
    for (let round = 1; round <= moves; round += 1) {
      signal.throwIfAborted();
      await delay(chance.next() * SPREAD_MS, undefined, { signal });
      tookMs.push(await giveOne(control, service));
    }
    progress(`${moves} notices`);
    return describe(tookMs);
  } finally {
    await control.close();
  }
}

/** How long one took; it is taken back again. */
async function giveOne(control: TestFleet, service: Ec2Service): Promise<number> {
  const time = new Date(Date.now() + NOTICE_MS).toISOString();
  const givenAtMs = performance.now();
  const known = untilHeard(control, true);
  await service.give({ ...NO_NOTICES, instanceAction: { action: 'terminate', time } });
  await known;
  const tookMs = performance.now() - givenAtMs;
  const unknown = untilHeard(control, false);
  await service.give(NO_NOTICES);
  await unknown;
  return tookMs;
}

/** Resolves at the very report that says so. */
async function untilHeard({ fleet }: TestFleet, wanted: boolean): Promise<void> {
  const heard = Promise.withResolvers<void>();
  const look = () => {
    const notice = fleet.hosts()[0]?.report?.notice ?? null;
    if ((notice !== null) === wanted) heard.resolve();
  };
  const stop = fleet.onChange(look);
  const late = () => heard.reject(new Error(`no word of it within ${LIMIT_MS} ms`));
  const timer = setTimeout(late, LIMIT_MS);
  look();
  await heard.promise.finally(() => {
    clearTimeout(timer);
    stop();
  });
}

function describe(tookMs: readonly number[]): BenchResult {
  const { count, p50, p90, p99, max } = summarize(tookMs);
  return {
    tables: [
      {
        title: `${count} notices at the metadata service → known to the control plane, ms`,
        headings: ['p50', 'p90', 'p99', 'max'],
        rows: [[p50, p90, p99, max].map(formatNumber)],
      },
    ],
    targets: [
      {
        what: 'notice → control plane, the longest',
        wanted: `under ${TARGET_MS} ms`,
        measured: `${formatNumber(max)} ms`,
        met: max < TARGET_MS,
      },
    ],
    figures: { tookMs },
  };
}
