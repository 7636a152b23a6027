/** A real VM moves while what has grown cold of it is in an S3 bucket, not in a folder. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FILL, HASH, inGuest } from './in-guest.ts';
import { MovingAgents } from './moving-agents.ts';
import { startS3 } from './s3-store.ts';

const MIB = 1024 * 1024;

let s3: Awaited<ReturnType<typeof startS3>>;
let agents: MovingAgents;
beforeAll(async () => {
  const store = async (address: string) => {
    s3 = await startS3(address);
    return s3.spec;
  };
  agents = await MovingAgents.start(['one', 'two'], { store });
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
  await s3?.[Symbol.asyncDispose]();
});

test('the target has cold chunks from the bucket, and the guest is whole', async () => {
  const vmId = await agents.startVm('one');
  const hashes = await inGuest(agents, { vmId, host: 'one', script: FILL });
  // All that was written before came to rest; the last pack may take a minute to be worth a request.
  const isSealed = (bytes = 0) => bytes >= 30 * MIB;
  await agents.vm('one', vmId, ({ tracking }) => isSealed(tracking?.bytesInStore));
  const before = s3.proxy.seen.length;
  const { target } = await agents.move(vmId, { from: 'one', to: 'two' });
  expect(target.phase).toBe('done');
  expect(target.bytesFromStore).toBeGreaterThan(16 * MIB);
  const fetched = s3.proxy.seen.slice(before).filter(({ method }) => method === 'GET');
  expect(fetched.some(({ path }) => path.includes(vmId))).toBe(true);
  expect(await inGuest(agents, { vmId, host: 'two', script: HASH })).toBe(hashes);
});
