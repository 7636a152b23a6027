/** What only one cloud does: tokens that end, questions that wait, documents with many events. */
import { expect, test } from 'vitest';
import { type AzureEvent, startAzureMetadata } from '../../fakes/metadata/azure-metadata.ts';
import { startFaultyProxy } from '../../fakes/metadata/faulty-proxy.ts';
import { startGcpMetadata } from '../../fakes/metadata/gcp-metadata.ts';
import { until } from '../local-provider/until.ts';
import { startEc2Service } from './ec2-service.ts';
import { startWatching } from './watching.ts';

const hint = { noticeTime: '2026-11-23T19:55:00Z' };

test('EC2: a rebalance hint is heard, an interruption goes before it, and comes after it', async () => {
  await using service = await startEc2Service();
  await using watching = startWatching({ metadataUrl: service.url, mode: 'ec2' });
  await service.give({ instanceAction: null, rebalance: hint });
  expect(await watching.last('rebalance')).toMatchObject({ source: 'ec2', deadlineMs: null });
  const time = new Date(Date.now() + 100_000).toISOString();
  await service.give({ instanceAction: { action: 'stop', time }, rebalance: hint });
  expect(await watching.last('interruption')).toMatchObject({ deadlineMs: Date.parse(time) });
  await service.give({ instanceAction: null, rebalance: hint });
  await watching.last('rebalance');
  expect(watching.said.map((notice) => notice?.kind)).toEqual([
    'rebalance',
    'interruption',
    'rebalance',
  ]);
});

test('EC2: a token that is no longer good is replaced', async () => {
  await using service = await startEc2Service();
  await using watching = startWatching({ metadataUrl: service.url, mode: 'ec2' });
  await service.give({ instanceAction: null, rebalance: hint });
  const first = await watching.last('rebalance');
  await service.restart();
  await watching.last(null);
  await service.give({ instanceAction: null, rebalance: { noticeTime: '2026-11-23T19:56:00Z' } });
  const second = await watching.last('rebalance');
  expect(watching.said).toEqual([first, null, second]);
});

test('Google: a question waits, and is answered by the notice itself', async () => {
  await using server = await startGcpMetadata();
  await using proxy = await startFaultyProxy(server.url);
  await using watching = startWatching({ metadataUrl: proxy.url, mode: 'gcp' });
  await until('two waiting questions', () => (server.held === 2 ? true : undefined));
  const asked = proxy.asked;
  server.set('instance/maintenance-event', 'TERMINATE_ON_HOST_MAINTENANCE');
  expect(await watching.last('rebalance')).toMatchObject({ source: 'gcp', deadlineMs: null });
  server.set('instance/preempted', 'TRUE');
  await watching.last('interruption');
  expect(proxy.asked - asked).toBeLessThanOrEqual(3);
});

test('Google: a change between an answer and the next question is not missed', async () => {
  await using server = await startGcpMetadata();
  await using watching = startWatching({ metadataUrl: server.url, mode: 'gcp' });
  await until('two waiting questions', () => (server.held === 2 ? true : undefined));
  // The first answers the question that waits; nobody waits when the second comes.
  server.set('instance/maintenance-event', 'MIGRATE_ON_HOST_MAINTENANCE');
  server.set('instance/maintenance-event', 'TERMINATE_ON_HOST_MAINTENANCE');
  await watching.last('rebalance');
  expect(server.expired).toBe(0);
});

test('Google: a change during an outage is not missed', async () => {
  await using server = await startGcpMetadata();
  await using proxy = await startFaultyProxy(server.url);
  proxy.fault = 'error';
  await using watching = startWatching({ metadataUrl: proxy.url, mode: 'gcp' });
  await until('questions', () => (proxy.asked >= 3 ? true : undefined));
  server.set('instance/preempted', 'TRUE');
  proxy.fault = 'none';
  await watching.last('interruption');
});

test('Google: whoever does not name the flavor is told nothing', async () => {
  await using server = await startGcpMetadata();
  const path = `${server.url}/computeMetadata/v1/instance/preempted`;
  expect((await fetch(path)).status).toBe(403);
  const headers = { 'metadata-flavor': 'Google', 'x-forwarded-for': '192.0.2.1' };
  expect((await fetch(path, { headers })).status).toBe(403);
});

test('Azure: the slow first answer is waited for', async () => {
  await using server = await startAzureMetadata({ firstAnswerMs: 4_000 });
  await using proxy = await startFaultyProxy(server.url);
  server.setEvents([eviction(server.vmName)]);
  await using watching = startWatching({ metadataUrl: proxy.url, mode: 'azure' });
  await watching.last('interruption');
  // The name and the events, once each: nothing was asked again for being late.
  expect(proxy.asked).toBe(2);
});

test('Azure: others’ events are left out, and one that starts is still the same', async () => {
  await using server = await startAzureMetadata({ firstAnswerMs: 0 });
  await using proxy = await startFaultyProxy(server.url);
  await using watching = startWatching({ metadataUrl: proxy.url, mode: 'azure' });
  const freeze: AzureEvent = { ...eviction(server.vmName), EventType: 'Freeze' };
  server.setEvents([eviction('host_1'), freeze]);
  const asked = proxy.asked;
  await until('an answer', () => (proxy.asked >= asked + 2 ? true : undefined));
  expect(watching.said).toEqual([]);
  server.setEvents([eviction('host_1'), eviction(server.vmName)]);
  const notice = await watching.last('interruption');
  server.setEvents([{ ...eviction(server.vmName), EventStatus: 'Started', NotBefore: '' }]);
  const askedThen = proxy.asked;
  await until('an answer', () => (proxy.asked >= askedThen + 2 ? true : undefined));
  expect(watching.said).toEqual([notice]);
});

test('Azure: who does not ask properly is told nothing', async () => {
  await using server = await startAzureMetadata({ firstAnswerMs: 0 });
  const path = '/metadata/scheduledevents';
  expect((await fetch(`${server.url}${path}?api-version=2020-07-01`)).status).toBe(400);
  const headers = { metadata: 'true' };
  expect((await fetch(`${server.url}${path}`, { headers })).status).toBe(400);
});

function eviction(vmName: string): AzureEvent {
  return {
    EventId: `eviction-of-${vmName}`,
    EventType: 'Preempt',
    EventStatus: 'Scheduled',
    Resources: [vmName],
    NotBefore: new Date(Date.now() + 29_000).toUTCString(),
  };
}
