import { expect, it } from 'vitest';
import { storeCost } from './store-cost.ts';

it("charges S3's list prices", () => {
  const usage = { puts: 1000, gets: 10_000, lists: 1000 };
  const { requestsUsd, storageUsd } = storeCost({ usage, storedBytes: 1024 ** 3, hours: 730 });
  expect(requestsUsd).toBeCloseTo(0.005 + 0.004 + 0.005);
  expect(storageUsd).toBeCloseTo(0.023);
  const nothing = { usage: { puts: 0, gets: 0, lists: 0 }, storedBytes: 0, hours: 1 };
  expect(storeCost(nothing).totalUsd).toBe(0);
});
