/** What the fake answers, action by action. It is strict: what it does not know, it refuses. */
import { randomBytes } from 'node:crypto';
import { createFakeFleet } from './ec2-fleets.ts';
import {
  type Ec2World,
  FakeRefusal,
  type FakeTemplate,
  type Tags,
  ZONE_IDS,
  ZONES,
} from './ec2-world.ts';
import type { QueryForm, Xml } from './query-protocol.ts';

export type Action = (world: Ec2World, form: QueryForm) => Xml;

/** Names that each action takes; anything else is an UnknownParameter, as with EC2. */
const TAKES: Readonly<Record<string, readonly string[]>> = {
  DescribeInstanceTypes: ['MaxResults', 'NextToken', 'Filter'],
  DescribeSubnets: ['SubnetId'],
  DescribeSpotPriceHistory: [
    'Filter',
    'ProductDescription',
    'StartTime',
    'NextToken',
    'MaxResults',
  ],
  GetSpotPlacementScores: [
    ...['InstanceType', 'TargetCapacity', 'TargetCapacityUnitType', 'SingleAvailabilityZone'],
    ...['RegionName', 'MaxResults', 'NextToken'],
  ],
  CreateLaunchTemplate: [
    'LaunchTemplateName',
    'LaunchTemplateData',
    'ClientToken',
    'TagSpecification',
  ],
  DeleteLaunchTemplate: ['LaunchTemplateName', 'LaunchTemplateId'],
  DescribeLaunchTemplates: ['Filter', 'MaxResults', 'NextToken'],
  CreateFleet: [
    ...['Type', 'ClientToken', 'TargetCapacitySpecification', 'LaunchTemplateConfigs'],
    ...['SpotOptions', 'OnDemandOptions'],
  ],
  DescribeInstances: ['Filter', 'InstanceId', 'MaxResults', 'NextToken'],
  TerminateInstances: ['InstanceId'],
};

const ACTIONS: Readonly<Record<string, Action>> = {
  DescribeInstanceTypes: describeInstanceTypes,
  DescribeSubnets: describeSubnets,
  DescribeSpotPriceHistory: describeSpotPriceHistory,
  GetSpotPlacementScores: getSpotPlacementScores,
  CreateLaunchTemplate: createLaunchTemplate,
  DeleteLaunchTemplate: deleteLaunchTemplate,
  DescribeLaunchTemplates: describeLaunchTemplates,
  CreateFleet: createFakeFleet,
  DescribeInstances: describeInstances,
  TerminateInstances: terminateInstances,
};

export function act(world: Ec2World, name: string, form: QueryForm): Xml {
  const action = ACTIONS[name];
  if (action === undefined) throw new FakeRefusal('InvalidAction', `There is no action ${name}.`);
  const known = ['Action', 'Version', ...(TAKES[name] ?? [])];
  const odd = form.names.filter((one) => !known.includes(one));
  if (odd.length > 0) throw new FakeRefusal('UnknownParameter', `Unknown: ${odd.join(', ')}.`);
  return action(world, form);
}

function describeInstanceTypes(world: Ec2World, form: QueryForm): Xml {
  const { page, nextToken } = pageOf(world, world.types, form);
  return {
    instanceTypeSet: page.map((type) => ({
      instanceType: type.name,
      bareMetal: type.virtualization === 'metal',
      supportedUsageClasses: ['on-demand', 'spot'],
      processorInfo: {
        supportedArchitectures: ['x86_64'],
        supportedFeatures: type.virtualization === 'nested' ? ['nested-virtualization'] : [],
        manufacturer: type.manufacturer,
      },
      vCpuInfo: { defaultVCpus: type.vcpus },
      memoryInfo: { sizeInMiB: type.memoryMib },
    })),
    nextToken,
  };
}

function describeSubnets(_: Ec2World, form: QueryForm): Xml {
  const subnetSet = form.texts('SubnetId').map((subnetId) => {
    const availabilityZone = ZONES.get(subnetId);
    if (availabilityZone === undefined)
      throw new FakeRefusal('InvalidSubnetID.NotFound', `There is no subnet ${subnetId}.`);
    return { subnetId, availabilityZone, availabilityZoneId: ZONE_IDS.get(availabilityZone) };
  });
  return { subnetSet };
}

function describeSpotPriceHistory(world: Ec2World, form: QueryForm): Xml {
  const wanted = filterOf(form, 'instance-type');
  const rows = world.types
    .filter(({ name }) => wanted === undefined || wanted.includes(name))
    .flatMap((type) => [...ZONES.values()].map((zone) => ({ type, zone })));
  const { page, nextToken } = pageOf(world, rows, form);
  const fromMs = Date.parse(form.get('StartTime') ?? '');
  return {
    spotPriceHistorySet: page.flatMap(({ type, zone }) =>
      world.pricesSince(type, zone, fromMs).map(({ usd, sinceMs }) => ({
        instanceType: type.name,
        availabilityZone: zone,
        productDescription: 'Linux/UNIX',
        spotPrice: String(usd),
        timestamp: new Date(sinceMs).toISOString(),
      })),
    ),
    nextToken: nextToken ?? '',
  };
}

/** Of zones, in the regions that are named: by id. */
function getSpotPlacementScores(world: Ec2World, form: QueryForm): Xml {
  const isWhole = form.texts('InstanceType').length > 0 && Number(form.get('TargetCapacity')) > 0;
  if (!isWhole || form.get('SingleAvailabilityZone') !== 'true')
    throw new FakeRefusal('InvalidParameterValue', 'Wants types, a capacity, and zones.');
  const { page, nextToken } = pageOf(world, [...world.scores], form);
  return {
    spotPlacementScoreSet: page.map(([availabilityZoneId, score]) => ({
      ...{ region: form.texts('RegionName')[0], availabilityZoneId, score },
    })),
    nextToken,
  };
}

function createLaunchTemplate(world: Ec2World, form: QueryForm): Xml {
  const name = form.get('LaunchTemplateName') ?? '';
  if (!/^[a-zA-Z0-9().\-/_]{3,128}$/.test(name))
    throw new FakeRefusal('InvalidLaunchTemplateName.MalformedException', name);
  if (world.templates.has(name))
    throw new FakeRefusal('InvalidLaunchTemplateName.AlreadyExistsException', name);
  const template = { ...readTemplate(name, form), createdAtMs: world.nowMs() };
  if (template.userData.length > 16_384)
    throw new FakeRefusal('InvalidUserData.Malformed', 'User data is limited to 16384 bytes.');
  world.templates.set(name, template);
  return { launchTemplate: { launchTemplateId: template.id, launchTemplateName: name } };
}

function readTemplate(name: string, form: QueryForm): Omit<FakeTemplate, 'createdAtMs'> {
  const data = form.below('LaunchTemplateData');
  const [nic] = data?.list('NetworkInterface') ?? [];
  const [disk] = data?.list('BlockDeviceMapping') ?? [];
  const hopLimit = data?.get('MetadataOptions.HttpPutResponseHopLimit');
  return {
    id: `lt-${randomBytes(8).toString('hex')}`,
    name,
    tags: tagsFor('launch-template', form),
    instanceTags: data === undefined ? new Map() : tagsFor('instance', data),
    nested: data?.get('CpuOptions.NestedVirtualization') === 'enabled',
    userData: Buffer.from(data?.get('UserData') ?? '', 'base64').toString(),
    httpTokens: data?.get('MetadataOptions.HttpTokens'),
    hopLimit: hopLimit === undefined ? undefined : Number(hopLimit),
    publicAddress: nic?.get('AssociatePublicIpAddress') !== 'false',
    encrypted: disk?.get('Ebs.Encrypted') === 'true',
    profile: data?.get('IamInstanceProfile.Name'),
  };
}

function tagsFor(kind: string, form: QueryForm): Tags {
  const specification = form
    .list('TagSpecification')
    .find((one) => one.get('ResourceType') === kind);
  const tags = specification?.list('Tag') ?? [];
  return new Map(tags.map((tag) => [tag.get('Key') ?? '', tag.get('Value') ?? '']));
}

function deleteLaunchTemplate(world: Ec2World, form: QueryForm): Xml {
  const template = [...world.templates.values()].find(
    ({ id, name }) =>
      id === form.get('LaunchTemplateId') || name === form.get('LaunchTemplateName'),
  );
  if (template === undefined)
    throw new FakeRefusal('InvalidLaunchTemplateName.NotFoundException', 'There is none.');
  world.templates.delete(template.name);
  return { launchTemplate: { launchTemplateId: template.id } };
}

function describeLaunchTemplates(world: Ec2World, form: QueryForm): Xml {
  const ours = [...world.templates.values()].filter(({ tags }) => hasTags(tags, form));
  const { page, nextToken } = pageOf(world, ours, form);
  return {
    launchTemplates: page.map(({ id, name, tags, createdAtMs }) => ({
      launchTemplateId: id,
      launchTemplateName: name,
      createTime: new Date(createdAtMs).toISOString(),
      tagSet: tagSetOf(tags),
    })),
    nextToken,
  };
}

function describeInstances(world: Ec2World, form: QueryForm): Xml {
  const states = filterOf(form, 'instance-state-name');
  const found = [...world.instances.values()].filter((instance) => {
    if (instance.hiddenFor > 0) {
      instance.hiddenFor -= 1;
      return false;
    }
    const isShown = states === undefined || states.includes(instance.state);
    return isShown && hasTags(instance.tags, form);
  });
  const { page, nextToken } = pageOf(world, found, form);
  return {
    reservationSet: page.map((instance) => ({
      reservationId: `r-${instance.id}`,
      instancesSet: [
        {
          instanceId: instance.id,
          instanceType: instance.type,
          instanceState: { code: 16, name: instance.state },
          launchTime: new Date(instance.launchedAtMs).toISOString(),
          placement: { availabilityZone: instance.zone },
          instanceLifecycle: instance.spot ? 'spot' : undefined,
          tagSet: tagSetOf(instance.tags),
        },
      ],
    })),
    nextToken,
  };
}

/** All or none, as with EC2. */
function terminateInstances(world: Ec2World, form: QueryForm): Xml {
  const instances = form.texts('InstanceId').map((id) => {
    const instance = world.instances.get(id);
    if (instance === undefined || instance.hiddenFor > 0)
      throw new FakeRefusal('InvalidInstanceID.NotFound', `The instance ID '${id}' does not exist`);
    return instance;
  });
  for (const instance of instances) world.end(instance);
  return { instancesSet: instances.map(({ id }) => ({ instanceId: id })) };
}

function filterOf(form: QueryForm, name: string): readonly string[] | undefined {
  return form
    .list('Filter')
    .find((filter) => filter.get('Name') === name)
    ?.texts('Value');
}

function hasTags(tags: Tags, form: QueryForm): boolean {
  return form.list('Filter').every((filter) => {
    const name = filter.get('Name') ?? '';
    if (!name.startsWith('tag:')) return true;
    return filter.texts('Value').includes(tags.get(name.slice('tag:'.length)) ?? '\0');
  });
}

function tagSetOf(tags: Tags): Xml {
  return [...tags].map(([key, value]) => ({ key, value }));
}

function pageOf<T>(world: Ec2World, rows: readonly T[], form: QueryForm) {
  const from = Number(form.get('NextToken') ?? 0);
  const size = Math.min(world.pageSize, Number(form.get('MaxResults') ?? 1_000));
  const page = rows.slice(from, from + size);
  return { page, nextToken: from + size < rows.length ? String(from + size) : undefined };
}
