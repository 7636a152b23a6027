/**
 * What an instance of ours is like, as a launch template: CreateFleet takes user data in no other form.
 * Each launch has a template of its own, because its user data carries its token. Pure.
 *
 * An instance has no address that the Internet reaches unless that is asked for, takes metadata
 * requests with a session only (IMDSv2) and from no further than itself (hop limit 1), has encrypted
 * disks, and ends when it is shut down.
 */
import type { RequestLaunchTemplateData, Tag } from '@aws-sdk/client-ec2';
import type { Ec2Settings } from './ec2-settings.ts';
import type { Virtualization } from './host-type.ts';
import { LAUNCH_TAG, type Ours, ownTags } from './own-tags.ts';

export interface InstancePlan {
  readonly ours: Ours;
  readonly pool: string;
  /** Of the pool's template: hosts of an older one can be told apart. */
  readonly generation: string;
  readonly clientToken: string;
  readonly virtualization: Virtualization;
  readonly userData: string;
  readonly settings: Ec2Settings;
}

export function composeTemplate(plan: InstancePlan): RequestLaunchTemplateData {
  const { settings, virtualization } = plan;
  const tags = tagsOf(plan);
  return {
    ImageId: settings.ami,
    UserData: Buffer.from(plan.userData).toString('base64'),
    InstanceInitiatedShutdownBehavior: 'terminate',
    MetadataOptions: {
      HttpEndpoint: 'enabled',
      HttpTokens: 'required',
      HttpPutResponseHopLimit: 1,
      InstanceMetadataTags: 'disabled',
    },
    NetworkInterfaces: [
      {
        DeviceIndex: 0,
        AssociatePublicIpAddress: settings.publicAddress,
        DeleteOnTermination: true,
        Groups: [...settings.securityGroups],
      },
    ],
    BlockDeviceMappings: [
      {
        DeviceName: settings.rootDevice,
        Ebs: {
          Encrypted: true,
          VolumeType: 'gp3',
          VolumeSize: settings.diskGib,
          DeleteOnTermination: true,
          ...(settings.kmsKeyId === undefined ? {} : { KmsKeyId: settings.kmsKeyId }),
        },
      },
    ],
    TagSpecifications: [
      { ResourceType: 'instance', Tags: tags },
      { ResourceType: 'volume', Tags: tags },
    ],
    ...(virtualization === 'nested' ? { CpuOptions: { NestedVirtualization: 'enabled' } } : {}),
    ...(settings.instanceProfile === undefined
      ? {}
      : { IamInstanceProfile: { Name: settings.instanceProfile } }),
  };
}

/** Up to 128 letters, digits and `-`, as EC2 wants it. */
export function templateNameOf({ fleet, ownerId }: Ours, clientToken: string): string {
  return `architect-${fleet}-${ownerId}-${clientToken}`.slice(0, 128);
}

function tagsOf({ ours, pool, generation, clientToken }: InstancePlan): Tag[] {
  return [
    ...ownTags(ours),
    { Key: 'Name', Value: `architect-${ours.fleet}` },
    { Key: 'architect:pool', Value: pool },
    { Key: 'architect:generation', Value: generation },
    { Key: LAUNCH_TAG, Value: clientToken },
  ];
}
