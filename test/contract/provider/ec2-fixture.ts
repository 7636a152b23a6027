/** EC2 providers for tests: the same settings for moto and for the fake. */
import * as sdk from '@aws-sdk/client-ec2';
import { pino } from 'pino';
import { Ec2Provider } from '../../../app/providers/ec2/ec2-provider.ts';
import { EC2_LIMITS } from '../../../app/providers/ec2/ec2-requests.ts';
import { Ec2Settings } from '../../../app/providers/ec2/ec2-settings.ts';
import type { LaunchJournal } from '../../../app/providers/ec2/launch-journal.ts';
import { Digest } from '../../../host-agent/protocol/ids.ts';

export const POOL = {
  id: 'pool-test',
  template: Digest.parse(`sha256:${'0'.repeat(64)}`),
  arch: 'x64',
  accelerator: 'kvm',
  cpuVendor: null,
} as const;

export const TOKEN = `architect_${'x'.repeat(40)}`;

export interface Ec2Given {
  readonly endpoint: string;
  readonly region?: string;
  readonly subnets?: readonly string[];
  readonly securityGroups?: readonly string[];
  readonly types?: readonly string[];
  readonly onDemandUsdPerHour?: Readonly<Record<string, number>>;
  readonly fallbacks?: readonly string[];
  readonly priceList?: boolean;
  readonly spotAdvisor?: string;
  readonly placementScores?: boolean;
  readonly ownerId?: string;
  readonly now?: () => number;
  readonly journal?: LaunchJournal;
}

/** The SDK finds credentials in the environment, as it would on a real machine. */
export function openTestEc2(given: Ec2Given): Ec2Provider {
  process.env.AWS_ACCESS_KEY_ID = 'AKIDTEST';
  process.env.AWS_SECRET_ACCESS_KEY = 'very-secret-key';
  const { ownerId = 'owner1', now = Date.now, journal, ...over } = given;
  const settings = Ec2Settings.parse({
    region: 'eu-central-1',
    ami: 'ami-0123456789abcdef0',
    subnets: ['subnet-0000000a', 'subnet-0000000b'],
    securityGroups: ['sg-0123456789abcdef0'],
    instanceProfile: 'architect-host',
    onDemandUsdPerHour: { 'm8i.xlarge': 0.3, 'm8i.2xlarge': 0.6 },
    fleet: { maxUsdPerHour: 5 },
    ...over,
  });
  return new Ec2Provider({
    ...{ sdk, settings, fleet: 'main', ownerId, pool: POOL, now },
    ...(journal === undefined ? {} : { journal }),
    limits: { ...EC2_LIMITS, connectMs: 1_000, attemptMs: 20_000 },
    logger: pino({ level: 'silent' }),
  });
}
