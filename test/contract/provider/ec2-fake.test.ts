import { afterAll, beforeAll, describe } from 'vitest';
import type { Ec2Provider } from '../../../app/providers/ec2/ec2-provider.ts';
import { type FakeEc2, startFakeEc2 } from '../../fakes/ec2/ec2-server.ts';
import { openTestEc2 } from './ec2-fixture.ts';
import { describeProvider } from './provider-contract.ts';

let ec2: FakeEc2;
let provider: Ec2Provider;
beforeAll(async () => {
  ec2 = await startFakeEc2();
  provider = openTestEc2({ endpoint: ec2.url });
});
afterAll(async () => {
  provider.close();
  await ec2.stop();
});

describe('ec2, on the fake', () => {
  describeProvider(() => provider);
});

describe('ec2, on the fake whose lists lag behind', () => {
  beforeAll(() => {
    ec2.world.lag = 2;
    ec2.world.pageSize = 2;
  });
  describeProvider(() => provider);
});
