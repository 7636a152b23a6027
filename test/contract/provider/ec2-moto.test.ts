import * as sdk from '@aws-sdk/client-ec2';
import { afterAll, beforeAll, describe } from 'vitest';
import type { Ec2Provider } from '../../../app/providers/ec2/ec2-provider.ts';
import { type Moto, startMoto } from '../../fakes/object-store/moto.ts';
import { openTestEc2 } from './ec2-fixture.ts';
import { describeProvider } from './provider-contract.ts';

const REGION = 'us-east-1';
let moto: Moto;
let provider: Ec2Provider;

beforeAll(async () => {
  moto = await startMoto();
  provider = openTestEc2({ endpoint: moto.url, region: REGION, ...(await readDefaultNetwork()) });
});
afterAll(async () => {
  provider?.close();
  await moto?.stop();
});

describe('ec2, on moto', () => {
  describeProvider(() => provider);
});

/** moto's account has a VPC from the start. */
async function readDefaultNetwork() {
  const credentials = { accessKeyId: 'AKIDTEST', secretAccessKey: 'x' };
  const client = new sdk.EC2Client({ region: REGION, endpoint: moto.url, credentials });
  const [subnets, groups] = await Promise.all([
    client.send(new sdk.DescribeSubnetsCommand({})),
    client.send(new sdk.DescribeSecurityGroupsCommand({})),
  ]);
  client.destroy();
  return {
    subnets: (subnets.Subnets ?? []).flatMap(({ SubnetId: id }) => id ?? []).slice(0, 2),
    securityGroups: (groups.SecurityGroups ?? [])
      .flatMap(({ GroupId: id }) => id ?? [])
      .slice(0, 1),
    types: ['m8i.xlarge', 'c8i.xlarge'],
  };
}
