/** What EC2 says of our instances. Found by tag: nothing else is ever touched. */
import { z } from 'zod';
import type { ProviderHost } from '../provider.ts';
import { offerIdOf, onDemandIdOf } from './compose-offers.ts';
import type { Ec2Requests } from './ec2-requests.ts';
import { filtersOf, isOurs, LAUNCH_TAG, type Ours, ownTags, Tags } from './own-tags.ts';
import { collectPages } from './pages.ts';

const PAGE_SIZE = 500;
const SHOWN_STATES = ['pending', 'running', 'stopping', 'stopped', 'shutting-down'];

const Instance = z.object({
  InstanceId: z.string(),
  InstanceType: z.string(),
  LaunchTime: z.date(),
  State: z.object({ Name: z.string() }),
  Placement: z.object({ AvailabilityZone: z.string() }),
  InstanceLifecycle: z.string().optional(),
  Tags,
});

export interface OurInstance {
  readonly host: ProviderHost;
  readonly clientToken: string | undefined;
}

/** Every one of ours that has not ended, on all pages. `clientToken`: only what that launch made. */
export async function listInstances(
  requests: Ec2Requests,
  ours: Ours,
  options: { readonly signal: AbortSignal; readonly clientToken?: string },
): Promise<readonly OurInstance[]> {
  const { signal, clientToken } = options;
  const tags = [
    ...ownTags(ours),
    ...(clientToken === undefined ? [] : [{ Key: LAUNCH_TAG, Value: clientToken }]),
  ];
  const raw = await requests.run('list the instances', signal, async (call) => {
    const pages = call.sdk.paginateDescribeInstances(
      { client: call.client, pageSize: PAGE_SIZE },
      {
        Filters: [...filtersOf(tags), { Name: 'instance-state-name', Values: SHOWN_STATES }],
      },
      { abortSignal: call.abortSignal },
    );
    const reservations = await collectPages(pages, ({ Reservations }) => Reservations);
    return reservations.flatMap(({ Instances }) => Instances ?? []);
  });
  return raw.flatMap((one) => readInstance(one, ours) ?? []);
}

/** Undefined for what is not ours, whatever the filter let through. Pure. */
export function readInstance(raw: unknown, ours: Ours): OurInstance | undefined {
  const instance = Instance.safeParse(raw).data;
  if (instance === undefined || !isOurs(instance.Tags, ours)) return undefined;
  const zone = instance.Placement.AvailabilityZone;
  return {
    host: {
      machineId: instance.InstanceId,
      offerId: offerIdOf(instance.InstanceType, zone, instance.InstanceLifecycle === 'spot'),
      state: stateOf(instance.State.Name),
      launchedAtMs: instance.LaunchTime.getTime(),
    },
    clientToken: instance.Tags.find(({ Key }) => Key === LAUNCH_TAG)?.Value,
  };
}

function stateOf(name: string): ProviderHost['state'] {
  if (name === 'pending') return 'launching';
  return name === 'running' ? 'running' : 'terminating';
}

/** With what it offers to VMs and what it costs, where its type is still sold. */
export function describeInstance(
  host: ProviderHost,
  offers: readonly {
    readonly id: string;
    readonly capacity: ProviderHost['capacity'];
    readonly pricePerHourUsd: number;
  }[],
): ProviderHost {
  const offer = offers.find(({ id }) => id === host.offerId);
  if (offer?.capacity === undefined) return host;
  const onDemand = offers.find(({ id }) => id === onDemandIdOf(host.offerId));
  return {
    ...{ ...host, capacity: offer.capacity, pricePerHourUsd: offer.pricePerHourUsd },
    ...(onDemand === undefined ? {} : { onDemandUsdPerHour: onDemand.pricePerHourUsd }),
  };
}
