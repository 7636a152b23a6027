/**
 * One CreateFleet call of type instant for one instance, and what came of it: an instance, or why not,
 * offer by offer. Offers that EC2 did not name in its answer are neither good nor bad.
 */
import { createHash } from 'node:crypto';
import type {
  CreateFleetCommandInput,
  FleetLaunchTemplateOverridesRequest,
} from '@aws-sdk/client-ec2';
import { z } from 'zod';
import { type Ec2Offer, offerIdOf } from './compose-offers.ts';
import { type Ec2Fault, faultOfCode } from './ec2-errors.ts';
import type { Ec2Requests } from './ec2-requests.ts';
import type { Ec2Market } from './market.ts';
import type { Attempt } from './plan-attempts.ts';

const Overrides = z.object({
  InstanceType: z.string().optional(),
  AvailabilityZone: z.string().optional(),
  SubnetId: z.string().optional(),
});

const FleetAnswer = z.object({
  Instances: z
    .array(
      z.object({
        InstanceIds: z.array(z.string()).default([]),
        InstanceType: z.string().optional(),
        LaunchTemplateAndOverrides: z.object({ Overrides: Overrides.optional() }).optional(),
      }),
    )
    .default([]),
  Errors: z
    .array(
      z.object({
        ErrorCode: z.string().default('unknown'),
        LaunchTemplateAndOverrides: z.object({ Overrides: Overrides.optional() }).optional(),
      }),
    )
    .default([]),
});
export type FleetAnswer = z.infer<typeof FleetAnswer>;

export interface OfferFault {
  readonly offer: Ec2Offer;
  readonly fault: Ec2Fault;
  readonly code: string;
}

export interface FleetOutcome {
  readonly bought: { readonly instanceId: string; readonly offer: Ec2Offer } | undefined;
  /** More than was asked for: they are given back at once. */
  readonly surplus: readonly string[];
  readonly faults: readonly OfferFault[];
}

export interface FleetCall {
  readonly requests: Ec2Requests;
  readonly market: Ec2Market;
  readonly attempt: Attempt;
  readonly templateName: string;
  readonly clientToken: string;
}

/** Ends by its own limit, never half way: see ec2-requests.ts. Throws for what the call as a whole met. */
export async function createFleet(fleet: FleetCall): Promise<FleetOutcome> {
  const { requests, attempt } = fleet;
  const answer = await requests.run('buy a host', undefined, (call) =>
    call.client.send(new call.sdk.CreateFleetCommand(composeFleet(fleet)), {
      abortSignal: call.abortSignal,
    }),
  );
  return readOutcome(FleetAnswer.parse(answer), attempt.offers);
}

export function composeFleet(fleet: FleetCall): CreateFleetCommandInput {
  const { attempt, templateName, clientToken, market } = fleet;
  const overrides = attempt.offers.flatMap((offer, at) => overrideOf(offer, at, market));
  return {
    Type: 'instant',
    ClientToken: tokenOf(clientToken, attempt),
    TargetCapacitySpecification: {
      TotalTargetCapacity: 1,
      DefaultTargetCapacityType: attempt.spot ? 'spot' : 'on-demand',
    },
    ...(attempt.spot
      ? { SpotOptions: { AllocationStrategy: 'capacity-optimized-prioritized' } }
      : { OnDemandOptions: { AllocationStrategy: 'prioritized' } }),
    LaunchTemplateConfigs: [
      {
        LaunchTemplateSpecification: { LaunchTemplateName: templateName, Version: '1' },
        Overrides: overrides,
      },
    ],
  };
}

/** The same request always has the same token, and another one another: EC2 refuses a mixture. */
function tokenOf(clientToken: string, { spot, offers }: Attempt): string {
  const asked = [clientToken, spot, ...offers.map(({ id }) => id)].join('\n');
  return createHash('sha256').update(asked).digest('hex');
}

function overrideOf(
  { type, zone }: Ec2Offer,
  priority: number,
  market: Ec2Market,
): FleetLaunchTemplateOverridesRequest[] {
  const subnet = market.subnetIn(zone);
  const name = market.nameOf(type);
  if (subnet === undefined || name === undefined) return [];
  return [{ InstanceType: name, SubnetId: subnet, AvailabilityZone: zone, Priority: priority }];
}

/** Pure. */
export function readOutcome(answer: FleetAnswer, offers: readonly Ec2Offer[]): FleetOutcome {
  const [first, ...surplus] = answer.Instances.flatMap((instance) =>
    instance.InstanceIds.map((instanceId) => {
      const overrides = instance.LaunchTemplateAndOverrides?.Overrides;
      return {
        instanceId,
        offer: findOffer(offers, { InstanceType: instance.InstanceType, ...overrides }),
      };
    }),
  );
  const fallback = offers[0];
  const offer = first?.offer ?? fallback;
  return {
    bought:
      first === undefined || offer === undefined
        ? undefined
        : { instanceId: first.instanceId, offer },
    surplus: surplus.map(({ instanceId }) => instanceId),
    faults: answer.Errors.flatMap((error) => {
      const seen = findOffer(offers, error.LaunchTemplateAndOverrides?.Overrides ?? {});
      const code = error.ErrorCode;
      return seen === undefined ? [] : [{ offer: seen, fault: faultOfCode(code), code }];
    }),
  };
}

function findOffer(
  offers: readonly Ec2Offer[],
  {
    InstanceType: type,
    AvailabilityZone: zone,
  }: { InstanceType?: string | undefined; AvailabilityZone?: string | undefined },
): Ec2Offer | undefined {
  if (zone === undefined) return offers.find((offer) => offer.type.name === type);
  return offers.find(({ id, spot }) => id === offerIdOf(type ?? '', zone, spot));
}
