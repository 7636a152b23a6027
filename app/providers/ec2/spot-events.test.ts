import { expect, it } from 'vitest';
import { readSpotEvent } from './spot-events.ts';

const NOW_MS = Date.parse('2026-03-01T12:00:03Z');
const ID = 'i-0123456789abcdef0';

function event(over: object = {}): string {
  return JSON.stringify({
    version: '0',
    id: '12345678-1234-1234-1234-123456789012',
    'detail-type': 'EC2 Spot Instance Interruption Warning',
    source: 'aws.ec2',
    account: '123456789012',
    time: '2026-03-01T12:00:00Z',
    region: 'eu-central-1',
    resources: [`arn:aws:ec2:eu-central-1b:instance/${ID}`],
    detail: { 'instance-id': ID, 'instance-action': 'terminate' },
    ...over,
  });
}

it('reads a warning: two minutes from when EC2 gave it', () => {
  expect(readSpotEvent(event(), NOW_MS)).toEqual({
    machineId: ID,
    notice: {
      ...{ kind: 'interruption', source: 'ec2', seenAtMs: NOW_MS },
      deadlineMs: Date.parse('2026-03-01T12:02:00Z'),
    },
  });
});

it('reads a hint, which names no time', () => {
  const type = 'EC2 Instance Rebalance Recommendation';
  const body = event({ 'detail-type': type, detail: { 'instance-id': ID } });
  expect(readSpotEvent(body, NOW_MS)?.notice).toMatchObject({
    kind: 'rebalance',
    deadlineMs: null,
  });
});

it.each([
  ['nothing', undefined],
  ['no JSON', '<xml/>'],
  ['another service', event({ source: 'aws.s3' })],
  ['another event', event({ 'detail-type': 'EC2 Instance State-change Notification' })],
  ['no instance', event({ detail: {} })],
  ['a strange instance', event({ detail: { 'instance-id': '../i-1' } })],
  ['no time', event({ time: 'soon' })],
])('reads nothing from %s', (_, body) => {
  expect(readSpotEvent(body, NOW_MS)).toBeUndefined();
});
