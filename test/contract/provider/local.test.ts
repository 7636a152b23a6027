import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type LocalFleet, startLocalFleet } from './local-fleet.ts';
import { describeProvider } from './provider-contract.ts';

let fleet: LocalFleet | undefined;
beforeAll(async () => {
  fleet = await startLocalFleet();
});
afterAll(() => fleet?.destroy());

describe('local', () => {
  describeProvider(() => {
    expect(fleet).toBeDefined();
    if (fleet === undefined) throw new Error('the fleet did not start');
    return fleet.provider;
  });
});
