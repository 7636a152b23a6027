import { expect, test } from 'vitest';
import { answerMetadata, NO_NOTICES } from './metadata-answers.ts';

const instance = { instanceId: 'h-1a2b3c4d', instanceType: '4cpu-8gb', place: 'local' };
const get = {
  method: 'GET',
  path: '/latest/meta-data/instance-id',
  tokenTtl: undefined,
  tokenValid: true,
  forwarded: false,
};
const put = { ...get, method: 'PUT', path: '/latest/api/token', tokenTtl: '60', tokenValid: false };

test.each([
  ['no TTL', { tokenTtl: undefined }, 400],
  ['a TTL of 0', { tokenTtl: '0' }, 400],
  ['a TTL beyond six hours', { tokenTtl: '21601' }, 400],
  ['a TTL that is no number', { tokenTtl: '6e1' }, 400],
  ['a forwarded request', { forwarded: true }, 403],
  ['the wrong method', { method: 'GET' }, 405],
])('a token is not given for %s', (_, change, status) => {
  expect(answerMetadata({ ...put, ...change }, instance, NO_NOTICES)).toMatchObject({ status });
});

test('a token is given for up to six hours', () => {
  const answer = answerMetadata({ ...put, tokenTtl: '21600' }, instance, NO_NOTICES);
  expect(answer).toEqual({ kind: 'token', ttlS: 21_600 });
});

test.each([
  ['instance-id', 200, 'h-1a2b3c4d'],
  ['instance-type', 200, '4cpu-8gb'],
  ['placement/region', 200, 'local'],
  ['spot/instance-action', 404, 'Not Found'],
  ['events/recommendations/rebalance', 404, 'Not Found'],
  ['user-data', 404, 'Not Found'],
])('%s answers %d', (item, status, body) => {
  const answer = answerMetadata(
    { ...get, path: `/latest/meta-data/${item}` },
    instance,
    NO_NOTICES,
  );
  expect(answer).toEqual({ kind: 'answer', status, body });
});

test('without a valid token nothing is told', () => {
  const answer = answerMetadata({ ...get, tokenValid: false }, instance, NO_NOTICES);
  expect(answer).toMatchObject({ status: 401 });
});

test('a notice is told in EC2’s own shape', () => {
  const notices = {
    ...NO_NOTICES,
    instanceAction: { action: 'terminate' as const, time: '2026-11-23T20:00:00Z' },
  };
  const path = '/latest/meta-data/spot/instance-action';
  expect(answerMetadata({ ...get, path }, instance, notices)).toMatchObject({
    status: 200,
    body: '{"action":"terminate","time":"2026-11-23T20:00:00Z"}',
  });
});
