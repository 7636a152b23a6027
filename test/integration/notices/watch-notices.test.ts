/** What a watcher must do on every cloud: hear, not repeat, take back, and outlast every fault. */
import { describe, expect, test } from 'vitest';
import { type Fault, startFaultyProxy } from '../../fakes/metadata/faulty-proxy.ts';
import { until } from '../local-provider/until.ts';
import { startAzure, startEc2, startGcp } from './clouds.ts';
import { startWatching } from './watching.ts';

const HOUR_MS = 3_600_000;
const MORE_QUESTIONS = 2;

/** Waits until the watcher has asked a few more times, with whatever success. */
async function askedAgain(proxy: { readonly asked: number }): Promise<void> {
  const before = proxy.asked;
  await until('more questions', () => (proxy.asked >= before + MORE_QUESTIONS ? true : undefined));
}

describe.each([
  ['ec2', startEc2],
  ['gcp', startGcp],
  ['azure', startAzure],
] as const)('%s', (source, startCloud) => {
  test('is found, heard once, and heard when it takes the notice back', async () => {
    await using cloud = await startCloud();
    await using watching = startWatching({ metadataUrl: cloud.url, mode: 'auto' });
    const atMs = Math.floor(Date.now() / 1_000) * 1_000 + 25_000;
    await cloud.interrupt(atMs);
    const notice = await watching.last('interruption');
    expect(notice).toMatchObject({ kind: 'interruption', source });
    const promisedMs = (notice?.seenAtMs ?? 0) + 30_000;
    expect(notice?.deadlineMs).toBe(source === 'gcp' ? promisedMs : atMs);
    await cloud.withdraw();
    expect(await watching.last(null)).toBeNull();
    expect(watching.said).toEqual([notice, null]);
  });

  test.each<Fault>(['slow', 'silent', 'error', 'garbage', 'cut'])(
    'a service that is %s withdraws nothing, and a notice is heard in spite of it',
    async (fault) => {
      await using cloud = await startCloud();
      await using proxy = await startFaultyProxy(cloud.url);
      await using watching = startWatching({ metadataUrl: proxy.url, mode: source });
      await cloud.interrupt(Date.now() + 25_000);
      const notice = await watching.last('interruption');
      proxy.fault = fault;
      proxy.delayMs = 2_500;
      await askedAgain(proxy);
      expect(watching.said).toEqual([notice]);
      // One that is only slow is to be heard while it is; the others when they are well again.
      if (fault !== 'slow') proxy.fault = 'none';
      await cloud.withdraw();
      await watching.last(null);
      expect(watching.said).toEqual([notice, null]);
    },
  );

  test('the deadline is right on a host whose clock is an hour off', async () => {
    await using cloud = await startCloud();
    const atMs = Date.now() + 25_000;
    await cloud.interrupt(atMs);
    for (const aheadMs of [HOUR_MS, -HOUR_MS]) {
      await using watching = startWatching({ metadataUrl: cloud.url, mode: source, aheadMs });
      const notice = await watching.last('interruption');
      const trueDeadlineMs = (notice?.deadlineMs ?? 0) - aheadMs;
      expect(trueDeadlineMs).toBeGreaterThan(atMs - 2_000);
      expect(trueDeadlineMs).toBeLessThan(atMs + 30_000);
    }
  });

  test('few connections serve many questions', async () => {
    await using cloud = await startCloud();
    await using proxy = await startFaultyProxy(cloud.url);
    await using _watching = startWatching({ metadataUrl: proxy.url, mode: source });
    const questions = source === 'gcp' ? 4 : 8;
    await until('questions', () => (proxy.asked >= questions ? true : undefined));
    expect(proxy.connections).toBeLessThanOrEqual(3);
  });
});

test('with notices off, nothing is asked', async () => {
  await using cloud = await startEc2();
  await using proxy = await startFaultyProxy(cloud.url);
  const watching = startWatching({ metadataUrl: proxy.url, mode: 'off' });
  await watching[Symbol.asyncDispose]();
  expect(proxy.asked).toBe(0);
});

test('a watcher that finds no cloud ends as soon as it is told to', async () => {
  await using cloud = await startEc2();
  await using proxy = await startFaultyProxy(cloud.url);
  proxy.fault = 'silent';
  const watching = startWatching({ metadataUrl: proxy.url, mode: 'auto' });
  await until('a question', () => (proxy.asked > 0 ? true : undefined));
  await watching[Symbol.asyncDispose]();
  expect(watching.said).toEqual([]);
});
