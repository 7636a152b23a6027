/** CreateFleet, type instant: the first override that has capacity; what has none is an error beside it. */
import { randomBytes } from 'node:crypto';
import { type Ec2World, FakeRefusal, type FakeTemplate, ZONES } from './ec2-world.ts';
import type { QueryForm, Xml } from './query-protocol.ts';

interface Override {
  readonly type: string;
  readonly zone: string;
  readonly subnet: string;
  readonly priority: number;
}

/** The same token gives the same answer; with another request it is refused. */
export function createFakeFleet(world: Ec2World, form: QueryForm): Xml {
  const token = form.get('ClientToken') ?? randomBytes(8).toString('hex');
  const known = world.fleets.get(token);
  if (known !== undefined && known.asked !== form.fingerprint)
    throw new FakeRefusal('IdempotentParameterMismatch', 'This token came with another request.');
  if (known !== undefined) return known.answer;
  const answer = makeFleet(world, form);
  world.fleets.set(token, { asked: form.fingerprint, answer });
  return answer;
}

function makeFleet(world: Ec2World, form: QueryForm): Xml {
  if (form.get('Type') !== 'instant')
    throw new FakeRefusal('InvalidParameterValue', 'Only instant.');
  const [config] = form.list('LaunchTemplateConfigs');
  const name = config?.get('LaunchTemplateSpecification.LaunchTemplateName') ?? '';
  const template = world.templates.get(name);
  if (config === undefined || template === undefined)
    throw new FakeRefusal('InvalidLaunchTemplateName.NotFoundException', name);
  const spot = form.get('TargetCapacitySpecification.DefaultTargetCapacityType') === 'spot';
  let wanted = Number(form.get('TargetCapacitySpecification.TotalTargetCapacity'));
  const instances: Xml[] = [];
  const errors: Xml[] = [];
  for (const override of readOverrides(config)) {
    if (wanted === 0) break;
    const lifecycle = spot ? 'spot' : 'on-demand';
    const launchTemplateAndOverrides = { overrides: overrideXml(override) };
    const errorCode = refusalOf(world, template, { override, spot });
    if (errorCode !== undefined) {
      errors.push({ launchTemplateAndOverrides, lifecycle, errorCode, errorMessage: 'It is so.' });
      continue;
    }
    const { type: instanceType } = override;
    const { id } = buy(world, template, { override, spot });
    instances.push({ launchTemplateAndOverrides, lifecycle, instanceIds: [id], instanceType });
    wanted -= 1;
  }
  return { fleetId: 'fleet-1', errorSet: errors, fleetInstanceSet: instances };
}

interface Place {
  readonly override: Override;
  readonly spot: boolean;
}

function refusalOf(
  world: Ec2World,
  template: FakeTemplate,
  { override, spot }: Place,
): string | undefined {
  const key = keyOf(override, spot);
  const type = world.types.find(({ name }) => name === override.type);
  if (type === undefined) return 'InvalidParameterValue';
  if (template.nested && type.virtualization !== 'nested') return 'UnsupportedOperation';
  return (
    world.refusals.get(key) ??
    (world.capacity.get(key) === 0 ? 'InsufficientInstanceCapacity' : undefined)
  );
}

function buy(world: Ec2World, template: FakeTemplate, { override, spot }: Place) {
  const key = keyOf(override, spot);
  const left = world.capacity.get(key);
  if (left !== undefined) world.capacity.set(key, left - 1);
  const { type, zone } = override;
  return world.addInstance({ type, zone, spot, tags: template.instanceTags, template });
}

function keyOf({ type, zone }: Override, spot: boolean): string {
  return `${type}/${zone}/${spot ? 'spot' : 'on-demand'}`;
}

function readOverrides(config: QueryForm): readonly Override[] {
  const overrides = config.list('Overrides').map((one) => {
    const subnet = one.get('SubnetId') ?? '';
    const zone = one.get('AvailabilityZone') ?? '';
    if (ZONES.get(subnet) !== zone)
      throw new FakeRefusal('InvalidParameterCombination', `${subnet} is not in ${zone}.`);
    return {
      subnet,
      zone,
      type: one.get('InstanceType') ?? '',
      priority: Number(one.get('Priority')),
    };
  });
  if (overrides.length === 0) throw new FakeRefusal('MissingParameter', 'No overrides.');
  return overrides.toSorted((a, b) => a.priority - b.priority);
}

function overrideXml({ type, zone, subnet, priority }: Override): Xml {
  return { instanceType: type, availabilityZone: zone, subnetId: subnet, priority };
}
