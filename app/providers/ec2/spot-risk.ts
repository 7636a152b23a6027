/**
 * What AWS tells of the risk of spot instances, where the settings want it: bands of how often types
 * were taken back, and how likely a zone has what is asked for. Neither is needed to buy.
 */
import type { _InstanceType } from '@aws-sdk/client-ec2';
import type { Logger } from 'pino';
import { Ec2UnavailableError } from './ec2-errors.ts';
import type { Ec2Requests } from './ec2-requests.ts';
import type { Ec2Settings } from './ec2-settings.ts';
import { KeptReading } from './kept-reading.ts';
import { collectPages } from './pages.ts';
import { askJson } from './public-json.ts';
import { readReclaims } from './spot-advisor.ts';

const HOUR_MS = 3_600_000;
const ADVICE_KEPT_MS = 24 * HOUR_MS;
/** AWS limits how many different questions are asked in a day: ours is always the same. */
const SCORES_KEPT_MS = HOUR_MS;
const REST_MS = 600_000;
const MAX_TYPES = 1_000;

export interface RiskOptions {
  readonly requests: Ec2Requests;
  readonly settings: Ec2Settings;
  readonly now: () => number;
  readonly logger: Logger;
}

/** By type: the share of instances that was taken back in the last month. */
export function keepReclaims({ requests, settings, now, logger }: RiskOptions) {
  const { spotAdvisor: url, region } = settings;
  return new KeptReading<ReadonlyMap<string, number>>({
    what: 'The Spot Instance Advisor',
    before: new Map(),
    read: async () => {
      if (url === undefined) return new Map();
      return await requests.run('read the Spot Instance Advisor', undefined, async (call) => {
        const answer = await askJson({ url, method: 'GET', signal: call.abortSignal });
        if (answer.status === 200) return readReclaims(answer.body, region);
        throw new Ec2UnavailableError(`The Spot Instance Advisor answered ${answer.status}.`);
      });
    },
    ...{ keptMs: ADVICE_KEPT_MS, restMs: REST_MS, now, logger },
  });
}

/** By the id of a zone: 1 to 10. `names`: of the types that may be bought. */
export function keepScores(
  { requests, settings, now, logger }: RiskOptions,
  names: () => readonly _InstanceType[],
) {
  const { placementScores, region, fleet } = settings;
  return new KeptReading<ReadonlyMap<string, number>>({
    what: 'Spot placement scores',
    before: new Map(),
    read: async () => {
      if (!placementScores) return new Map();
      const scores = await requests.run('read spot placement scores', undefined, async (call) => {
        const pages = call.sdk.paginateGetSpotPlacementScores(
          { client: call.client },
          {
            InstanceTypes: names().slice(0, MAX_TYPES),
            TargetCapacity: fleet.maxHosts,
            TargetCapacityUnitType: 'units',
            SingleAvailabilityZone: true,
            RegionNames: [region],
          },
          { abortSignal: call.abortSignal },
        );
        return await collectPages(pages, ({ SpotPlacementScores }) => SpotPlacementScores);
      });
      return new Map(
        scores.flatMap(({ AvailabilityZoneId: id, Score: score }): [string, number][] =>
          id === undefined || score === undefined ? [] : [[id, score]],
        ),
      );
    },
    ...{ keptMs: SCORES_KEPT_MS, restMs: REST_MS, now, logger },
  });
}
